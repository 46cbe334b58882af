//! `timezone`: the container's zone becomes that of the settings.

use std::{
    io,
    path::{Component, Path},
};

use super::{Hitch, Outcome};

/// Points `etc/localtime` to the zone and writes its name into `etc/timezone`, both below `root`. A zone that the system
/// doesn't have changes nothing: the runtime still sees TZ. Without a zone in the settings the system keeps its own.
pub(super) fn run(zone: Option<&str>, root: &Path) -> Result<Outcome, Hitch> {
    let Some(zone) = zone else {
        return Ok(Outcome::Nothing);
    };
    let relative = Path::new(zone);
    let is_name = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let file = Path::new("usr/share/zoneinfo").join(relative);
    if zone.is_empty() || !is_name || !root.join(&file).is_file() {
        return Err(Hitch::Refused(format!(
            "the system has no time zone {zone:?}"
        )));
    }
    let target = Path::new("/").join(&file);
    let localtime = root.join("etc/localtime");
    let name = root.join("etc/timezone");
    let linked = std::fs::read_link(&localtime).is_ok_and(|link| link == target);
    let named = std::fs::read_to_string(&name).is_ok_and(|text| text.trim() == zone);
    if linked && named {
        return Ok(Outcome::Nothing);
    }
    if !linked {
        replace(&localtime, |path| std::os::unix::fs::symlink(&target, path))?;
    }
    if !named {
        replace(&name, |path| std::fs::write(path, format!("{zone}\n")))?;
    }
    Ok(Outcome::Done)
}

/// Makes a file beside `path` and puts it into its place.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Hitch> {
    let beside = path.with_extension("hiclaw-new");
    let work = || -> io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        make(&beside)?;
        std::fs::rename(&beside, path)
    };
    work().map_err(|source| Hitch::System {
        operation: "replace",
        path: path.to_owned(),
        source,
    })
}
