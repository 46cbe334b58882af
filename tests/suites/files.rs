//! Files as they are: names, modes, links and what stands in each other's way, on every store.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::cli::Ran;
use testkit::{Bucket, Cli, Store, StoreKind, agent, on_every_store, tree};

on_every_store!(
    names_survive_a_round_trip_and_a_delete,
    a_backslash_in_a_name_never_becomes_another_file,
    a_name_that_is_no_text_is_reported_and_stops_nothing,
    a_chmod_is_one_put_here_and_no_get_there,
    links_are_made_and_follow_their_target,
    a_link_that_leads_outside_is_neither_sent_nor_made,
    sockets_and_fifos_are_reported,
    an_object_beside_a_directory_of_its_name_loses_nothing,
    an_object_that_hides_known_files_does_not_delete_them,
    changes_of_type_travel,
    markers_are_no_files,
    sparse_and_linked_files_keep_their_content,
);

/// Every name that a file here may have and a store may keep.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "new\nline",
        "carriage\rreturn",
        "tab\there",
        "bell\u{7}",
        "escape\u{1b}[31m",
        "delete\u{7f}",
        "two  spaces",
        " leading",
        "trailing ",
        "trailing.",
        "...",
        "-dash",
        "~tilde",
        "plus+plus",
        "a%2Fb",
        "%",
        "%zz",
        "hash#",
        "question?",
        "star*",
        "pipe|",
        "\"quotes\"'",
        "<&amp;>",
        "semi;colon:=@,$!()[]{}^`",
        "emoji 😀",
        "\u{2028}separator",
        "\u{feff}bom",
        "\u{fffe}",
        // The same letter, composed and decomposed.
        "caf\u{e9}",
        "cafe\u{301}",
        "x",
        "x y/z",
        "x-y",
        "x.y",
        "x!/y",
        "CON",
        "Case",
        "case",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("n".repeat(255));
    names.push("é".repeat(127));
    names
}

fn content(name: &str) -> String {
    format!("content of {name}")
}

fn requests(ran: &Ran, kind: &str) -> Result<u64> {
    let document = ran.json()?;
    document
        .pointer(&format!("/requests/{kind}"))
        .and_then(Value::as_u64)
        .context("no request counts")
}

async fn two(store: &Store) -> Result<(Bucket, Cli, Cli)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let here = Cli::new(&bucket)?;
    let there = Cli::new(&bucket)?;
    here.ok(&["pull"]).await?;
    there.ok(&["pull"]).await?;
    Ok((bucket, here, there))
}

async fn is_quiet(cli: &Cli) -> Result<()> {
    let ran = cli.run(&["sync", "--json"]).await?;
    for list in [
        "downloaded",
        "uploaded",
        "deleted_local",
        "deleted_remote",
        "conflicts",
    ] {
        assert_eq!(ran.paths(list)?, [""; 0], "{list} of {}", ran.stdout);
    }
    for kind in ["get", "put", "head", "delete"] {
        assert_eq!(requests(&ran, kind)?, 0, "{kind} of {}", ran.stdout);
    }
    Ok(())
}

fn mode(root: &Path, path: &str) -> Result<u32> {
    Ok(fs::symlink_metadata(root.join(path))?.permissions().mode() & 0o7777)
}

fn chmod(root: &Path, path: &str, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(
        root.join(path),
        fs::Permissions::from_mode(mode),
    )?)
}

async fn names_survive_a_round_trip_and_a_delete(store: &'static Store) -> Result<()> {
    let (bucket, here, there) = two(store).await?;
    for name in names() {
        tree::write(&here.workspace(), &format!("odd/{name}"), content(&name))?;
    }
    let ran = here.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("uploaded")?.len(), names().len());
    for name in names() {
        let key = agent::key(&format!("odd/{name}"));
        assert_eq!(bucket.text(&key).await?, content(&name), "{name:?}");
    }
    is_quiet(&here).await?;
    there.ok(&["pull"]).await?;
    assert_eq!(
        tree::read(&there.workspace())?,
        tree::read(&here.workspace())?
    );
    is_quiet(&there).await?;

    for name in names() {
        fs::remove_file(there.workspace().join("odd").join(&name))?;
    }
    tree::write(&there.workspace(), "odd/kept", "k")?;
    let ran = there.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("deleted_remote")?.len(), names().len());
    here.ok(&["pull"]).await?;
    let left = tree::names(&here.workspace().join("odd"))?;
    assert_eq!(left, ["kept"]);
    Ok(())
}

/// SeaweedFS takes `\` for `/`.
async fn a_backslash_in_a_name_never_becomes_another_file(store: &'static Store) -> Result<()> {
    let (bucket, here, there) = two(store).await?;
    let names = ["back\\slash", "dir/back\\slash", "\\", "trailing\\"];
    for name in names {
        tree::write(&here.workspace(), name, content(name))?;
    }
    tree::write(&here.workspace(), "fine", "fine")?;
    let before = bucket.tree(&agent::key("")).await?;
    let ran = here.run(&["push", "--json"]).await?;
    assert_eq!(bucket.text(&agent::key("fine")).await?, "fine");
    there.ok(&["pull"]).await?;
    if store.kind() == StoreKind::Seaweed {
        assert_eq!(ran.code, 3);
        let mut reported = names.to_vec();
        reported.sort_unstable();
        assert_eq!(ran.paths("problems")?, reported);
        assert!(ran.says("unsafe-path"));
        let mut after = bucket.tree(&agent::key("")).await?;
        after.remove("fine");
        assert_eq!(after, before);
        assert_eq!(here.run(&["sync"]).await?.code, 3);
        for name in names {
            assert_eq!(tree::text(&here.workspace(), name)?, content(name));
        }
    } else {
        assert_eq!(ran.code, 0);
        for name in names {
            assert_eq!(tree::text(&there.workspace(), name)?, content(name));
        }
        is_quiet(&here).await?;
    }
    Ok(())
}

async fn a_name_that_is_no_text_is_reported_and_stops_nothing(store: &'static Store) -> Result<()> {
    let (bucket, here, _) = two(store).await?;
    fs::write(here.workspace().join(OsStr::from_bytes(b"latin-\xe9")), "x")?;
    tree::write(&here.workspace(), "fine", "fine")?;
    let ran = here.run(&["sync", "--json"]).await?;
    assert_eq!(ran.code, 3);
    assert_eq!(ran.paths("problems")?, ["latin-\u{fffd}"]);
    assert_eq!(bucket.text(&agent::key("fine")).await?, "fine");
    Ok(())
}

async fn a_chmod_is_one_put_here_and_no_get_there(store: &'static Store) -> Result<()> {
    let (bucket, here, there) = two(store).await?;
    tree::write(&here.workspace(), "run", "#!/bin/sh\n")?;
    here.ok(&["push"]).await?;
    there.ok(&["pull"]).await?;
    is_quiet(&there).await?;
    // The store's clock counts whole seconds: what changes within one is seen with the next change.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    chmod(&here.workspace(), "run", 0o751)?;
    let ran = here.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("uploaded")?, ["run"]);
    assert_eq!(requests(&ran, "put")?, 1);
    let head = bucket.head(&agent::key("run")).await?.context("gone")?;
    assert_eq!(
        head.metadata.get("mode").map(String::as_str),
        Some("100751")
    );
    let ran = there.ok(&["pull", "--json"]).await?;
    assert_eq!(mode(&there.workspace(), "run")?, 0o751);
    assert_eq!(ran.paths("downloaded")?, ["run"]);
    assert_eq!((requests(&ran, "get")?, requests(&ran, "head")?), (0, 1));
    is_quiet(&there).await?;
    is_quiet(&here).await
}

async fn links_are_made_and_follow_their_target(store: &'static Store) -> Result<()> {
    let (bucket, here, there) = two(store).await?;
    tree::write(&here.workspace(), "lib/v1", "one")?;
    symlink("lib/v1", here.workspace().join("current"))?;
    symlink("no where 😀", here.workspace().join("lib/dangling"))?;
    here.ok(&["push"]).await?;
    assert_eq!(bucket.text(&agent::key("current")).await?, "lib/v1");
    let head = bucket.head(&agent::key("current")).await?.context("gone")?;
    assert_eq!(
        head.metadata.get("mode").map(String::as_str),
        Some("120777")
    );
    there.ok(&["pull"]).await?;
    let target = |cli: &Cli, path: &str| fs::read_link(cli.workspace().join(path));
    assert_eq!(target(&there, "current")?, Path::new("lib/v1"));
    assert_eq!(target(&there, "lib/dangling")?, Path::new("no where 😀"));
    is_quiet(&there).await?;
    fs::remove_file(there.workspace().join("current"))?;
    symlink("lib/v2", there.workspace().join("current"))?;
    fs::remove_file(there.workspace().join("lib/dangling"))?;
    there.ok(&["push"]).await?;
    here.ok(&["pull"]).await?;
    assert_eq!(target(&here, "current")?, Path::new("lib/v2"));
    assert!(target(&here, "lib/dangling").is_err());
    assert_eq!(tree::text(&here.workspace(), "lib/v1")?, "one");
    is_quiet(&here).await
}

async fn a_link_that_leads_outside_is_neither_sent_nor_made(store: &'static Store) -> Result<()> {
    let (bucket, here, there) = two(store).await?;
    symlink("/etc/passwd", here.workspace().join("absolute"))?;
    symlink("../bob/SOUL.md", here.workspace().join("neighbour"))?;
    tree::write(&here.workspace(), "fine", "fine")?;
    let link = [("mode", "120777")];
    bucket
        .put_with_metadata(&agent::key("hostile"), "../../../../etc/cron.d/x", &link)
        .await?;
    let ran = here.run(&["sync", "--json"]).await?;
    assert_eq!(ran.code, 3);
    assert_eq!(ran.paths("problems")?, ["absolute", "hostile", "neighbour"]);
    assert!(ran.says("unsupported"));
    assert!(fs::symlink_metadata(here.workspace().join("hostile")).is_err());
    assert!(bucket.head(&agent::key("absolute")).await?.is_none());
    let ran = there.run(&["pull", "--json"]).await?;
    assert_eq!(ran.paths("problems")?, ["hostile"]);
    assert_eq!(tree::text(&there.workspace(), "fine")?, "fine");
    Ok(())
}

async fn sockets_and_fifos_are_reported(store: &'static Store) -> Result<()> {
    let (bucket, here, _) = two(store).await?;
    let workspace = here.workspace();
    let _socket = std::os::unix::net::UnixListener::bind(workspace.join("agent.sock"))?;
    for path in [".cache/pipe", "pipe"] {
        fs::create_dir_all(workspace.join(path).parent().context("no parent")?)?;
        let mode = rustix::fs::Mode::RWXU;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, workspace.join(path), fifo, mode, 0)?;
    }
    tree::write(&workspace, "fine", "fine")?;
    let ran = here.run(&["sync", "--json"]).await?;
    assert_eq!(ran.code, 3);
    assert_eq!(ran.paths("problems")?, ["agent.sock", "pipe"]);
    assert!(ran.says("a socket") && ran.says("a FIFO"));
    assert_eq!(bucket.text(&agent::key("fine")).await?, "fine");
    // Nothing of it concerns what comes from the bucket.
    assert_eq!(here.run(&["pull"]).await?.code, 0);
    Ok(())
}

/// MinIO lists the object only, the others list both.
async fn an_object_beside_a_directory_of_its_name_loses_nothing(
    store: &'static Store,
) -> Result<()> {
    let (bucket, here, _) = two(store).await?;
    for path in ["clash/below", "clash", "clash.other"] {
        bucket.put(&agent::key(path), path.to_owned()).await?;
    }
    let first = here.run(&["sync", "--json"]).await?;
    let found = tree::read(&here.workspace())?;
    let is_file = here.workspace().join("clash").is_file();
    assert_eq!(is_file, store.kind() == StoreKind::Minio);
    if !is_file {
        assert_eq!(first.code, 3);
        assert_eq!(first.paths("problems")?, ["clash"]);
        assert_eq!(tree::text(&here.workspace(), "clash/below")?, "clash/below");
    }
    for _ in 0..2 {
        let again = here.run(&["sync", "--json"]).await?;
        assert_eq!(again.code, first.code);
        assert_eq!(again.paths("problems")?, first.paths("problems")?);
        assert_eq!(tree::read(&here.workspace())?, found);
        assert_eq!(requests(&again, "get")? + requests(&again, "delete")?, 0);
    }
    for path in ["clash/below", "clash", "clash.other"] {
        assert_eq!(bucket.text(&agent::key(path)).await?, path);
    }
    Ok(())
}

async fn an_object_that_hides_known_files_does_not_delete_them(
    store: &'static Store,
) -> Result<()> {
    let (bucket, here, _) = two(store).await?;
    for path in ["notes/a", "notes/b/c", "notes.txt"] {
        tree::write(&here.workspace(), path, content(path))?;
    }
    here.ok(&["push"]).await?;
    bucket.put(&agent::key("notes"), "in the way").await?;
    for _ in 0..2 {
        let ran = here.run(&["sync", "--json"]).await?;
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert_eq!(ran.paths("problems")?, ["notes"]);
        assert_eq!(ran.paths("deleted_local")?, [""; 0]);
        assert_eq!(requests(&ran, "get")?, 0);
    }
    for path in ["notes/a", "notes/b/c"] {
        assert_eq!(tree::text(&here.workspace(), path)?, content(path));
        assert_eq!(bucket.text(&agent::key(path)).await?, content(path));
    }
    bucket.delete(&agent::key("notes")).await?;
    here.ok(&["sync"]).await?;
    is_quiet(&here).await
}

async fn changes_of_type_travel(store: &'static Store) -> Result<()> {
    let (_, here, there) = two(store).await?;
    let workspace = here.workspace();
    for path in [
        "file-link",
        "file-dir",
        "dir-file/x",
        "dir-file/y/z",
        "dir-link/x",
    ] {
        tree::write(&workspace, path, content(path))?;
    }
    symlink("elsewhere", workspace.join("link-file"))?;
    symlink("elsewhere", workspace.join("link-dir"))?;
    here.ok(&["push"]).await?;
    there.ok(&["pull"]).await?;

    for path in ["file-link", "file-dir", "link-file", "link-dir"] {
        fs::remove_file(workspace.join(path))?;
    }
    for path in ["dir-file", "dir-link"] {
        fs::remove_dir_all(workspace.join(path))?;
    }
    for path in ["file-dir/x", "dir-file", "link-file", "link-dir/x"] {
        tree::write(&workspace, path, format!("new {path}"))?;
    }
    symlink("nowhere", workspace.join("file-link"))?;
    symlink("nowhere", workspace.join("dir-link"))?;
    here.ok(&["push"]).await?;
    is_quiet(&here).await?;
    there.ok(&["pull"]).await?;
    assert_eq!(tree::read(&there.workspace())?, tree::read(&workspace)?);
    for path in ["file-link", "dir-link"] {
        assert_eq!(
            fs::read_link(there.workspace().join(path))?,
            Path::new("nowhere")
        );
    }
    is_quiet(&there).await
}

async fn markers_are_no_files(store: &'static Store) -> Result<()> {
    let (bucket, here, _) = two(store).await?;
    bucket.put(&agent::key("empty/"), "").await?;
    bucket.put(&agent::key("full/"), "").await?;
    bucket.put(&agent::key("full/x"), "x").await?;
    here.ok(&["sync"]).await?;
    assert!(!here.workspace().join("empty").exists());
    assert_eq!(tree::text(&here.workspace(), "full/x")?, "x");
    fs::create_dir_all(here.workspace().join("empty-here/deep"))?;
    here.ok(&["sync"]).await?;
    is_quiet(&here).await?;
    assert!(here.workspace().join("empty-here/deep").is_dir());
    fs::remove_file(here.workspace().join("full/x"))?;
    here.ok(&["sync"]).await?;
    assert!(bucket.head(&agent::key("full/x")).await?.is_none());
    is_quiet(&here).await
}

async fn sparse_and_linked_files_keep_their_content(store: &'static Store) -> Result<()> {
    let (_, here, there) = two(store).await?;
    let workspace = here.workspace();
    let sparse = fs::File::create(workspace.join("sparse"))?;
    sparse.set_len(5 * 1024 * 1024)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 2 * 1024 * 1024)?;
    tree::write(&workspace, "empty", "")?;
    tree::write(&workspace, "one", "shared")?;
    fs::hard_link(workspace.join("one"), workspace.join("two"))?;
    here.ok(&["push"]).await?;
    there.ok(&["pull"]).await?;
    assert_eq!(tree::read(&there.workspace())?, tree::read(&workspace)?);
    tree::write(&there.workspace(), "one", "edited")?;
    there.ok(&["push"]).await?;
    here.ok(&["pull"]).await?;
    assert_eq!(tree::text(&workspace, "one")?, "edited");
    assert_eq!(tree::text(&workspace, "two")?, "shared");
    is_quiet(&here).await
}
