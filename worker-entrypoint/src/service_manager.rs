//! Telling a service manager how the worker is, by systemd's `sd_notify` protocol.
//!
//! Owns the socket that `NOTIFY_SOCKET` names and the words for it. Does nothing where no socket is named; a manager that
//! doesn't listen stops nothing.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use tokio::sync::watch;

use crate::{runtime::RuntimeStatus, supervisor::State};

/// The variable that names the socket. The runtime must not inherit it: its messages would be taken for ours.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// A service manager that listens.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// The one that `name` tells of, a path or an abstract name behind `@`; `None` when it can't be used.
    #[must_use]
    pub fn at(name: &OsStr) -> Option<Self> {
        let open = || -> io::Result<Self> {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
                None => SocketAddr::from_pathname(name)?,
            };
            let socket = UnixDatagram::unbound()?;
            // A manager whose queue is full must not hold up the worker.
            socket.set_nonblocking(true)?;
            Ok(Self { socket, address })
        };
        open()
            .inspect_err(|error| tracing::warn!(%error, "can't reach the service manager"))
            .ok()
    }

    /// Tells that the worker is being stopped.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=sending the last changes");
    }

    /// Tells of the runtime's state whenever it changes, until it has ended.
    pub async fn follow(&self, mut runtime: watch::Receiver<RuntimeStatus>) {
        let mut ready = false;
        loop {
            let state = runtime.borrow_and_update().state;
            let message = message(state, &mut ready);
            self.send(&message);
            if matches!(state, State::Finished(_)) || runtime.changed().await.is_err() {
                return;
            }
        }
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// What to say of a state. A service is declared ready once; what happens to it afterwards is its status.
fn message(state: State, ready: &mut bool) -> String {
    let status = match state {
        State::Idle | State::Starting => "starting the runtime".to_owned(),
        State::Ready => "running".to_owned(),
        State::Waiting(exit) => format!("the runtime ended with {exit} and will be started again"),
        State::Stopping(_) => "stopping the runtime".to_owned(),
        State::Finished(exit) => format!("the runtime ended with {exit}"),
    };
    if state == State::Ready && !*ready {
        *ready = true;
        format!("READY=1\nSTATUS={status}")
    } else {
        format!("STATUS={status}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Exit;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn status(state: State) -> RuntimeStatus {
        RuntimeStatus {
            state,
            id: None,
            restarts: 0,
        }
    }

    #[tokio::test]
    async fn a_manager_hears_once_that_the_worker_is_ready_and_always_how_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str()).unwrap();
        let (sender, receiver) = watch::channel(status(State::Starting));
        let follow = tokio::spawn(async move {
            manager.follow(receiver).await;
            manager
        });
        let hear = async || {
            let listener = listener.try_clone().unwrap();
            let heard = tokio::task::spawn_blocking(move || received(&listener));
            heard.await.unwrap()
        };
        assert_eq!(hear().await, "STATUS=starting the runtime");
        sender.send_replace(status(State::Ready));
        assert_eq!(hear().await, "READY=1\nSTATUS=running");
        sender.send_replace(status(State::Waiting(Exit::Code(3))));
        assert!(hear().await.starts_with("STATUS=the runtime ended with"));
        sender.send_replace(status(State::Ready));
        assert_eq!(hear().await, "STATUS=running");
        drop(sender);
        follow.await.unwrap().stopping();
        assert!(hear().await.starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_socket_is_reached_too_and_a_wrong_name_is_none() {
        let name = format!("hiclaw-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap();
        manager.stopping();
        assert!(received(&listener).starts_with("STOPPING=1"));
        assert!(ServiceManager::at(OsStr::new(&"x".repeat(200))).is_none());
    }
}
