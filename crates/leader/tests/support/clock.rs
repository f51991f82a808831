//! A process's clock as its gate reads it: at its own rate, standing still, or jumping.

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use watchkeeper_apiserver::simulate::process::ProcessClock;
use watchkeeper_leader::{GateClock, GateInstant};

#[derive(Clone, Debug)]
pub(crate) struct Clock(pub(crate) ProcessClock);

impl GateClock for Clock {
    fn now(&self) -> GateInstant {
        GateInstant::from_nanos(u64::try_from(self.0.shows(Instant::now()).as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.shows(Instant::now())
    }
}
