//! The files without which the runtime does not start.

use sync_core::{
    layout::{Mount, ResolvedLayout, Step},
    path::RelPath,
    store::{ObjectStore as _, StoreError, s3::S3Store},
};

use super::Check;
use crate::{settings::Settings, worker::read_object};

const NAME: &str = "files";

/// Looks for the files that the layout requires, in the bucket and here.
pub(super) async fn checks(
    settings: &Settings,
    store: &S3Store,
    layout: &ResolvedLayout,
) -> Vec<Check> {
    let required = layout.steps.iter().filter_map(|step| match step {
        Step::Pull(pull) => Some((layout.mount(pull.mounts.first()?)?, &pull.require)),
        Step::Timezone
        | Step::CopySkills { .. }
        | Step::Link { .. }
        | Step::RemoveCircularLink { .. }
        | Step::Run(_)
        | Step::Executable { .. }
        | Step::MoveAndLink { .. }
        | Step::Mirror
        | Step::Delete { .. }
        | Step::MatrixLogin { .. } => None,
    });
    let mut checks = Vec::new();
    for (mount, paths) in required {
        for path in paths {
            checks.push(file(settings, store, mount, path).await);
        }
    }
    checks.extend(config(settings, store, layout).await);
    checks
}

async fn file(settings: &Settings, store: &S3Store, mount: &Mount, path: &RelPath) -> Check {
    let key = mount.prefix.key(path);
    let here = mount.local.join(path.as_str()).is_file();
    match store.head(&key).await {
        Ok(Some(_)) if here => Check::ok(NAME, format!("{path} is in the bucket and here")),
        Ok(Some(_)) => Check::warning(
            NAME,
            format!("{path} is in the bucket and not here yet"),
            "`hiclaw-sync pull` brings it; a starting worker does that by itself",
        ),
        Ok(None) => {
            let advice = format!(
                "the controller has not written it, or this is another worker's name ({}) or bucket ({}): the runtime does not \
                 start without it",
                settings.worker, settings.store.bucket
            );
            Check::failed(NAME, format!("there is no {key} in the bucket"), advice)
        }
        Err(error) => not_known(&error),
    }
}

fn not_known(error: &StoreError) -> Check {
    Check::skipped(NAME, error.to_string())
}

/// Merged files must be readable on both sides, or the merge is refused.
async fn config(settings: &Settings, store: &S3Store, layout: &ResolvedLayout) -> Vec<Check> {
    let Some(mount) = layout.mounts.first() else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    for path in layout.merges.keys() {
        let key = mount.prefix.key(path);
        let advice = "mend it: it is not merged while it is broken, and the runtime goes on with what it has";
        if let Ok(Some(text)) = read_object(store, &key).await
            && let Err(error) = sync_core::merge::value(&text)
        {
            let message = format!("{key} in the bucket is no valid JSON5: {error}");
            checks.push(Check::failed(NAME, message, advice));
        }
        if let Ok(text) = std::fs::read_to_string(settings.workspace.join(path.as_str()))
            && let Err(error) = sync_core::merge::value(&text)
        {
            let message = format!("the local {path} is no valid JSON5: {error}");
            checks.push(Check::failed(NAME, message, advice));
        }
    }
    checks
}
