//! The guests of a crowd: handlers, streams and sources who come while the informer runs, and go or stay.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::{Event, InformerHandle, Registration, SourceGuard};

use super::{Breach, World};
use crate::observer::Shared;

const MOST_GUESTS: usize = 12;

/// Somebody who comes and goes.
enum Guest {
    Handler(Registration),
    Stream(CancellationToken),
    Source(SourceGuard),
}

impl World {
    /// Guests come, and go or stay.
    pub(super) async fn visit(&self, mut random: Rng) {
        let mut guests: Vec<(Guest, Shared)> = Vec::new();
        while !self.calm.is_cancelled() {
            sleep(Duration::from_millis(random.u64(..5_000))).await;
            if guests.len() < MOST_GUESTS && random.u8(..3) > 0 {
                guests.push(self.come(&mut random));
            } else if !guests.is_empty() {
                let (guest, observer) = guests.swap_remove(random.usize(..guests.len()));
                self.go(guest, &observer, &mut random).await;
            }
        }
        // Those who are left stay to the end of the informer.
        for (guest, _) in guests {
            match guest {
                Guest::Source(guard) => _ = self.tasks.lock().spawn(hold(guard, self.handle.clone())),
                Guest::Handler(_) | Guest::Stream(_) => {}
            }
        }
    }

    fn come(&self, random: &mut Rng) -> (Guest, Shared) {
        let newest = || Arc::clone(self.observers.lock().last().expect("one has just come"));
        match random.u8(..4) {
            0 | 1 => {
                self.done.note("handler comes");
                let resync = random.bool().then(|| Duration::from_secs(random.u64(1..10)));
                let (registration, observer) = self.handler("guest", resync, None);
                (Guest::Handler(registration), observer)
            }
            2 => {
                self.done.note("stream comes");
                let (leave, slow) = (CancellationToken::new(), random.bool().then(|| random.fork()));
                self.pull("guest who pulls", slow, leave.clone());
                (Guest::Stream(leave), newest())
            }
            _ => {
                self.done.note("source comes");
                let observer = self.observer("late source", None);
                let heard = Arc::clone(&observer);
                (Guest::Source(self.handle.add_source(move |event| heard.lock().hear(event))), observer)
            }
        }
    }

    async fn go(&self, guest: Guest, observer: &Shared, random: &mut Rng) {
        match guest {
            Guest::Handler(registration) => {
                self.done.note("handler goes");
                if random.bool() {
                    registration.end()
                } else {
                    registration.remove().await
                }
                observer.lock().ended = true;
                if self.breach == Some(Breach::CallAfterTheEnd)
                    && let Some(object) = self.handle.lister().list().pop()
                {
                    observer.lock().hear(&Event::Added { object, initial: false });
                }
            }
            Guest::Stream(leave) => {
                self.done.note("stream goes");
                leave.cancel();
            }
            Guest::Source(guard) => {
                self.done.note("source goes");
                drop(guard);
                observer.lock().ended = true;
            }
        }
    }
}

/// Keeps a source until the informer ends.
async fn hold(guard: SourceGuard, handle: InformerHandle<ConfigMap>) {
    let _ = handle.events().count().await;
    drop(guard);
}
