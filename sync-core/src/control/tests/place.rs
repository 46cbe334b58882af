//! Where the socket is, who may use it, and what was there before.

use super::*;

fn stub() -> Arc<dyn Handler> {
    Arc::new(Stub::default())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A socket whose owner has died.
fn stale(path: &Path) {
    drop(StdListener::bind(path).unwrap());
}

async fn connects(directory: &Path) -> bool {
    ControlClient::connect(directory).await.unwrap().is_some()
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = ControlServer::bind(directory.path(), stub()).unwrap();
    let socket = directory.path().join("control.sock");
    assert_eq!(server.path(), socket);
    assert_eq!(mode(&socket), 0o600);
    assert!(connects(directory.path()).await);
    drop(server);
    assert!(!socket.exists());
    assert!(!connects(directory.path()).await);
}

#[tokio::test]
async fn without_a_living_engine_there_is_no_client() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!connects(&directory.path().join("missing")).await);
    assert!(!connects(directory.path()).await);
    stale(&directory.path().join("control.sock"));
    assert!(!connects(directory.path()).await);
    for pointer in ["", "relative/path", "/nonexistent/control.sock", "/\0"] {
        fs::write(directory.path().join("control.path"), pointer).unwrap();
        assert!(!connects(directory.path()).await, "{pointer:?}");
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    stale(&directory.path().join("control.sock"));
    stale(&directory.path().join("control.new"));
    let server = ControlServer::bind(directory.path(), stub()).unwrap();
    let second = ControlServer::bind(directory.path(), stub());
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    assert!(connects(directory.path()).await);
    drop(server);
    ControlServer::bind(directory.path(), stub()).unwrap();
}

#[tokio::test]
async fn an_engine_that_hangs_counts_as_living() {
    let directory = tempfile::tempdir().unwrap();
    // It accepts nothing, and no more connections fit into its queue.
    let hanging = tokio::net::UnixSocket::new_stream().unwrap();
    hanging.bind(directory.path().join("control.sock")).unwrap();
    let _hanging = hanging.listen(0).unwrap();
    let _client = UnixStream::connect(directory.path().join("control.sock"))
        .await
        .unwrap();
    let second = ControlServer::bind(directory.path(), stub());
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    fs::write(&socket, "mine").unwrap();
    let server = ControlServer::bind(directory.path(), stub());
    assert!(
        matches!(server, Err(BindError::NotSocket { .. })),
        "{server:?}"
    );
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}

#[tokio::test]
async fn a_socket_that_took_the_servers_place_stays() {
    let directory = tempfile::tempdir().unwrap();
    let server = ControlServer::bind(directory.path(), stub()).unwrap();
    let socket = directory.path().join("control.sock");
    fs::remove_file(&socket).unwrap();
    let _other = StdListener::bind(&socket).unwrap();
    drop(server);
    assert!(socket.exists());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_private_directory_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("x".repeat(120));
    let unusable = root.path().join("missing");
    let runtime = root.path().join("run");
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&runtime).unwrap();
    let directories = [directory.clone(), unusable, runtime.clone()];
    let server = ControlServer::bind_with(&directory, &directories, stub()).unwrap();
    let private = server.path().parent().unwrap().to_owned();
    assert_eq!(private.parent(), Some(runtime.as_path()));
    assert_eq!(mode(&private), 0o700);
    assert_eq!(mode(server.path()), 0o600);
    assert_eq!(
        fs::read_to_string(directory.join("control.path")).unwrap(),
        server.path().to_str().unwrap()
    );
    assert!(connects(&directory).await);
    let second = ControlServer::bind_with(&directory, &directories, stub());
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    drop(server);
    assert!(!private.exists());
    assert!(!directory.join("control.path").exists());
    assert!(!connects(&directory).await);
}

#[tokio::test]
async fn a_private_directory_that_a_dead_engine_left_is_taken_away() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("x".repeat(120));
    let left = root.path().join("hiclaw-sync-0123");
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&left).unwrap();
    stale(&left.join("control.sock"));
    fs::write(
        directory.join("control.path"),
        left.join("control.sock").to_str().unwrap(),
    )
    .unwrap();
    let server = ControlServer::bind_with(&directory, &[root.path().to_owned()], stub()).unwrap();
    assert!(!left.exists());
    assert_ne!(server.path(), left.join("control.sock"));
}

#[tokio::test]
async fn without_any_directory_of_a_short_path_there_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("x".repeat(120));
    fs::create_dir(&directory).unwrap();
    let server = ControlServer::bind_with(&directory, std::slice::from_ref(&directory), stub());
    assert!(matches!(server, Err(BindError::TooLong)), "{server:?}");
    let missing = ControlServer::bind(&root.path().join("missing"), stub());
    assert!(matches!(missing, Err(BindError::Io { .. })), "{missing:?}");
}
