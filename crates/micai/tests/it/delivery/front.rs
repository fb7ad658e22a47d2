//! A door in front of the simulated Graph API, which can be shut in the ways in which a network shuts one.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of whoever comes to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They are let through.
    Open,
    /// Nobody listens: the connection is refused.
    Refusing,
    /// The connection is taken, and nothing ever comes back.
    Silent,
}

/// The door, at an address that stays.
pub struct Front {
    address: SocketAddr,
    behind: Arc<OnceLock<SocketAddr>>,
    task: Option<JoinHandle<()>>,
}

impl Front {
    /// A door that refuses until it is set.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), behind: Arc::default(), task: None }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says what is behind the door.
    pub fn leads_to(&self, url: &str) {
        self.behind.set(url.trim_start_matches("http://").parse().unwrap()).unwrap();
    }

    /// Sets the door. Whoever was inside is thrown out.
    pub async fn set(&mut self, door: Door) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        if door != Door::Refusing {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.task = Some(tokio::spawn(serve(listener, self.behind.clone(), door)));
        }
    }
}

/// Ends with all its connections when it is aborted.
async fn serve(listener: TcpListener, behind: Arc<OnceLock<SocketAddr>>, door: Door) {
    let mut inside = JoinSet::new();
    loop {
        let (mut guest, _) = listener.accept().await.unwrap();
        let behind = *behind.get().unwrap();
        inside.spawn(async move {
            if door == Door::Open {
                let mut host = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut guest, &mut host).await;
            } else {
                let mut heard = [0; 4_096];
                while guest.read(&mut heard).await.is_ok_and(|count| count > 0) {}
            }
        });
    }
}
