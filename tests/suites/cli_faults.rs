//! A store or a network that fails half-way: nothing is deleted, torn, lost or overwritten, and the rest is done.

use anyhow::Result;
use testkit::fake_store::{FakeStore, Listing};
use testkit::proxy::{Fault, Rule};
use testkit::{Cli, PATIENCE, Proxy, agent, tree};

async fn fake() -> Result<(FakeStore, Cli)> {
    let store = FakeStore::start().await?;
    agent::seed(&store.bucket()).await?;
    let cli = Cli::new(&store.bucket())?;
    Ok((store, cli))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_breaks_off_deletes_nothing() -> Result<()> {
    for broken in [
        Listing::FailsAfter(1),
        Listing::LosesItsToken,
        Listing::FailsAfter(0),
    ] {
        let (store, cli) = fake().await?;
        cli.ok(&["pull"]).await?;
        store.set_page_size(2);
        store.set_listing(broken);
        for command in ["pull", "sync"] {
            let ran = cli.run(&[command]).await?;
            assert_ne!(ran.code, 0, "{broken:?}, {command}: {}", ran.stdout);
            assert_eq!(
                tree::names(&cli.workspace())?,
                agent::PULLED,
                "{broken:?}, {command}"
            );
        }
        store.set_listing(Listing::Whole);
        cli.ok(&["sync"]).await?;
        assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_any_order_is_understood() -> Result<()> {
    let store = FakeStore::start().await?;
    for key in ["b", "a/b", "a-b", "c/d/e", "a.b", "SOUL.md", "c/a"] {
        store.insert(&agent::key(key), key);
    }
    store.set_page_size(2);
    let cli = Cli::new(&store.bucket())?;
    cli.ok(&["pull"]).await?;
    assert_eq!(
        tree::names(&cli.workspace())?,
        ["SOUL.md", "a-b", "a.b", "a/b", "b", "c/a", "c/d/e"]
    );
    let ran = cli.ok(&["sync", "--json"]).await?;
    for list in [
        "downloaded",
        "uploaded",
        "deleted_local",
        "deleted_remote",
        "conflicts",
    ] {
        assert_eq!(ran.paths(list)?, [""; 0], "{list}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_cannot_be_read_stops_no_other() -> Result<()> {
    let (store, cli) = fake().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    proxy.add(Rule::new("GET", "/SOUL.md", Fault::Status(403)));
    let ran = cli.run(&["pull", "--json"]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.paths("problems")?, ["SOUL.md"]);
    assert!(ran.stdout.contains("\"denied\""), "{}", ran.stdout);
    let expected: Vec<_> = agent::PULLED
        .into_iter()
        .filter(|path| *path != "SOUL.md")
        .collect();
    assert_eq!(tree::names(&cli.workspace())?, expected);
    proxy.heal();
    cli.ok(&["sync"]).await?;
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_publishes_nothing() -> Result<()> {
    let (store, cli) = fake().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    store.insert(&agent::key("book.txt"), &"line\n".repeat(20_000));
    proxy.add(Rule::new("GET", "/book.txt", Fault::TruncateAnswer(50_000)));
    let ran = cli.run(&["pull", "--json"]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.paths("problems")?, ["book.txt"]);
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    assert_eq!(tree::staged(&cli.workspace()), [""; 0]);
    proxy.heal();
    cli.ok(&["pull"]).await?;
    assert_eq!(tree::text(&cli.workspace(), "book.txt")?.len(), 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_troubles_are_retried() -> Result<()> {
    let (store, cli) = fake().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    proxy.add(Rule::new("GET", "list-type", Fault::Status(503)).times(1));
    proxy.add(Rule::new("GET", "/SOUL.md", Fault::LoseAnswer).times(1));
    proxy.add(Rule::new("GET", "/AGENTS.md", Fault::TruncateAnswer(3)).times(1));
    cli.ok(&["pull"]).await?;
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_was_lost_is_no_conflict() -> Result<()> {
    let (store, cli) = fake().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    cli.ok(&["pull"]).await?;
    tree::write(&cli.workspace(), "SOUL.md", "edited\n")?;
    tree::write(&cli.workspace(), "new.md", "created\n")?;
    proxy.add(Rule::new("PUT", "/SOUL.md", Fault::LoseAnswer).times(1));
    proxy.add(Rule::new("PUT", "/new.md", Fault::LoseAnswer).times(1));
    let ran = cli.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("conflicts")?, [""; 0], "{}", ran.stdout);
    assert_eq!(
        store.bucket().text(&agent::key("SOUL.md")).await?,
        "edited\n"
    );
    assert_eq!(
        store.bucket().text(&agent::key("new.md")).await?,
        "created\n"
    );
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(
        (ran.paths("uploaded")?, ran.paths("downloaded")?),
        (vec![], vec![])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_somebody_else_wrote_meanwhile_is_not_overwritten() -> Result<()> {
    let (store, cli) = fake().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    cli.ok(&["pull"]).await?;
    tree::write(&cli.workspace(), "notes.md", "mine\n")?;
    tree::write(&cli.workspace(), "SOUL.md", "mine\n")?;
    proxy.clear();
    proxy.add(Rule::new("PUT", "/notes.md", Fault::Hold).times(1));
    proxy.add(Rule::new("PUT", "/SOUL.md", Fault::Hold).times(1));
    let push = cli.spawn(&["push", "--json"])?;
    testkit::wait_until("the PUTs at the proxy", PATIENCE, || {
        proxy
            .requests()
            .iter()
            .filter(|seen| seen.method == "PUT" && seen.path.contains(".md"))
            .count()
            >= 2
    })
    .await?;
    store
        .bucket()
        .put(&agent::key("notes.md"), "theirs\n")
        .await?;
    store
        .bucket()
        .put(&agent::key("SOUL.md"), "theirs\n")
        .await?;
    proxy.heal();
    let ran = testkit::cli::finish(push).await?;
    assert!([0, 3].contains(&ran.code), "{}", ran.stderr);
    cli.ok(&["sync"]).await?;
    // Whoever wins, both versions of both files are still somewhere in the tree.
    let contents: Vec<_> = tree::read(&cli.workspace())?
        .into_iter()
        .filter(|(name, _)| name.contains(".md"))
        .collect();
    for stem in ["notes.md", "SOUL.md"] {
        for version in ["mine\n", "theirs\n"] {
            assert!(
                contents
                    .iter()
                    .any(|(name, content)| name.contains(stem) && content == version),
                "{version:?} of {stem} is lost: {contents:?}"
            );
        }
    }
    Ok(())
}
