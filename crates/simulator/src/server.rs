//! The HTTP server: an accept loop of our own, because a fault may have to close a connection without an answer.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::shared::Shared;

/// Open connections at a time; past it new ones wait.
pub const CONNECTIONS_MAX: usize = 4_096;
/// How long connections may go on after the stop.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(2);

/// Marks a response that must never be written: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropConnection;

impl DropConnection {
    pub(crate) fn response() -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(Self);
        response
    }
}

/// Accepts until cancelled.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, router: Router) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Some(Ok(permit)) = shared.cancel.run_until_cancelled(Arc::clone(&connections).acquire_owned()).await else {
            return;
        };
        match shared.cancel.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, _))) => {
                let (router, cancel) = (router.clone(), shared.cancel.clone());
                shared.tasks.spawn(async move {
                    connection(stream, router, cancel).await;
                    drop(permit);
                });
            }
            Some(Err(error)) => {
                // Out of file descriptors, most likely: waiting is all that helps.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, cancel: CancellationToken) {
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            match router.oneshot(request.map(axum::body::Body::new)).await {
                Ok(response) if response.extensions().get::<DropConnection>().is_some() => {
                    Err(io::Error::other("closed without an answer, as a fault asked"))
                }
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    tokio::select! {
        result = serving.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended early");
            }
            return;
        }
        () = cancel.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    _ = tokio::time::timeout(STOP_WAIT_MAX, serving).await;
}
