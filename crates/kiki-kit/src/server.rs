//! A router on a socket: HTTP/1.1 and HTTP/2 (with prior knowledge) on one port, bounded, ending in order.
//!
//! Nothing is encrypted here. So an address that others can reach is refused unless the operator says that the
//! network does it ([`Trust::Network`]).

mod connection;

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::service::upkeep_metrics;
use crate::shutdown::{Shutdown, Tasks};
use connection::Connections;

/// Connections that the operating system keeps for a listener that is busy.
const BACKLOG: u32 = 1_024;
/// How long to wait when the operating system has no more descriptors.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Who keeps what travels over the network to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: listen on loopback only.
    #[default]
    None,
    /// The network around the process, as in Compose or behind a mesh.
    Network,
}

/// The bounds on the connections of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at the same time at the most; more wait in the operating system's backlog.
    pub connections_max: usize,
    /// How long a connection may take until its first request is there with all of its head.
    pub first_request_time_max: Duration,
    /// How long an HTTP/1.1 connection may idle, or take to send a later head.
    pub idle_time_max: Duration,
}

impl Default for ServerLimits {
    /// 10,000 connections, 10 s for the first request, 75 s idle: longer than usual load balancers keep a connection, so
    /// that it is they who close it.
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            first_request_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(75),
        }
    }
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others could reach the address.
    #[error(
        "{0} can be reached by others and nothing is encrypted: listen on 127.0.0.1, or pass --trust network \
         (KIKI_TRUST=network) if the network around this process keeps others out"
    )]
    Public(SocketAddr),
    /// The operating system refuses.
    #[error("cannot listen on {0}")]
    Refused(SocketAddr, #[source] io::Error),
    /// The given listener is of no use.
    #[error("cannot use the given listener")]
    Listener(#[source] io::Error),
}

/// A listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: ServerLimits,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one. Connections wait until [`Self::serve`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is public without trust, or the operating system refuses it.
    pub fn bind(address: SocketAddr, trust: Trust) -> Result<Self, BindError> {
        check_trust(address, trust)?;
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let refused = |error| BindError::Refused(address, error);
        let listener = listen().map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, limits: ServerLimits::default() })
    }

    /// Takes a listener that is bound already. Needs a tokio runtime.
    ///
    /// # Errors
    /// Its address is public without trust, or it is of no use.
    pub fn from_listener(listener: net::TcpListener, trust: Trust) -> Result<Self, BindError> {
        let address = listener.local_addr().map_err(BindError::Listener)?;
        check_trust(address, trust)?;
        listener.set_nonblocking(true).map_err(BindError::Listener)?;
        let listener = TcpListener::from_std(listener).map_err(BindError::Listener)?;
        Ok(Self { listener, address, limits: ServerLimits::default() })
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens; with the port that was taken for 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Serves `router` as one of `tasks`. When the end begins it stops accepting at once, and finishes when the requests that
    /// were begun are answered.
    pub fn serve(self, router: Router, tasks: &Tasks) {
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("metrics upkeep", upkeep(shutdown.clone()));
        let connections = Connections::new(router, self.limits, tasks.clone());
        tasks.spawn("listener", accept(self.listener, self.limits, connections, shutdown));
    }
}

fn check_trust(address: SocketAddr, trust: Trust) -> Result<(), BindError> {
    if address.ip().to_canonical().is_loopback() || trust == Trust::Network {
        Ok(())
    } else {
        Err(BindError::Public(address))
    }
}

async fn accept(listener: TcpListener, limits: ServerLimits, connections: Connections, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let accepting = async {
        // Closing the semaphore would end this; nobody does.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let (stream, peer) = next(&listener).await;
            connections.spawn(stream, peer, place);
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.draining() => {}
    }
}

async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}

async fn upkeep(shutdown: Shutdown) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    let mut draining = std::pin::pin!(shutdown.draining());
    loop {
        tokio::select! {
            _ = interval.tick() => upkeep_metrics(),
            () = &mut draining => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_public_address_wants_trust_and_the_error_says_so() {
        let public: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let refused = Server::bind(public, Trust::None).unwrap_err().to_string();
        assert!(refused.contains("--trust network") && refused.contains("127.0.0.1"), "{refused}");
        let listener = net::TcpListener::bind(public).unwrap();
        assert!(matches!(Server::from_listener(listener, Trust::None), Err(BindError::Public(_))));
        for loopback in ["127.0.0.1:0", "127.0.0.2:0"] {
            assert!(Server::bind(loopback.parse().unwrap(), Trust::None).unwrap().is_loopback());
        }
        assert!(Server::bind(public, Trust::Network).is_ok());
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap(), Trust::None).unwrap();
        let second = Server::bind(first.address(), Trust::None).unwrap_err().to_string();
        assert!(second.contains(&first.address().to_string()), "{second}");
    }
}
