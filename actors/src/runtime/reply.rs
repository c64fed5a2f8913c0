//! The reply to a message that is already on its way.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::Error;

/// A future that any executor can drive, or that may be dropped: the message is on its way without it.
#[must_use = "a message is on its way without it, but nobody hears of a refusal"]
pub struct Reply<R>(Result<oneshot::Receiver<Result<R, Error>>, Option<Error>>);

pub(super) fn reply_channel<R>() -> (oneshot::Sender<Result<R, Error>>, Reply<R>) {
    let (sender, receiver) = oneshot::channel();
    (sender, Reply(Ok(receiver)))
}

impl<R> Reply<R> {
    pub(super) fn refused(error: Error) -> Self {
        Reply(Err(Some(error)))
    }
}

impl<R> Future for Reply<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(receiver) => Pin::new(receiver).poll(context).map(|reply| {
                // A reply that was dropped: the handler panicked, or the actor was stopped before it was done.
                reply.unwrap_or_else(|_| Err(Error::unavailable("the entity failed before it replied", false)))
            }),
            Err(refused) => Poll::Ready(Err(refused.take().expect("a future is not polled after it is ready"))),
        }
    }
}
