//! The table, again and again: one for all replicas of the process, from the view of the one that acts.
//!
//! In: the faces of the replicas. Out: text or JSON on stdout, at most once a period. It never waits for a replica.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use watchkeeper::Leadership;

use crate::cli::Format;
use crate::duration::brief;
use crate::moment::{Moment, SharedClock};
use crate::output::Voice;
use crate::replica::Face;
use crate::table;
use crate::view::{Look, View, look};

/// How and how often to report.
pub(crate) struct Report {
    pub(crate) faces: Vec<Face>,
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) period: Duration,
    pub(crate) clock: SharedClock,
    pub(crate) voice: Voice,
}

/// A table as a JSON document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    time: String,
    /// The replica of this process that acts.
    acting: Option<Acting>,
    /// Who holds the monitor's Lease, as far as is seen from here.
    lease_holder: Option<String>,
    changes_per_second: f64,
    #[serde(flatten)]
    view: &'a View,
}

#[derive(Serialize)]
struct Acting {
    replica: String,
    identity: String,
    epoch: String,
}

impl Report {
    /// Reports until `shutdown`; at least once, whatever the period. Ends `shutdown` itself when nobody reads stdout any more.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.period.max(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // The first one comes after a period: at the start there is nothing to see.
        ticks.tick().await;
        let mut before = (self.clock.moment(), 0);
        let mut printed = false;
        loop {
            // Biased: a stop that is asked for wins.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => before = self.print(before),
            }
            printed = true;
            if self.voice.reader_gone() {
                shutdown.cancel();
            }
        }
        if !printed {
            self.print(before);
        }
    }

    fn print(&self, (then, changes): (Moment, u64)) -> (Moment, u64) {
        let acting = self.faces.iter().find_map(|face| match &*face.leadership.borrow() {
            Leadership::Acting(term) => Some((face, term.epoch().to_string())),
            _ => None,
        });
        let Some(face) = acting.as_ref().map(|(face, _)| *face).or(self.faces.first()) else { return (then, changes) };
        let view = look(&face.board, Look { rows: self.rows, estimate: None });
        let now = self.clock.moment();
        let seconds = now.since(then).as_secs_f64().max(0.001);
        let rate = view.changes.saturating_sub(changes) as f64 / seconds;
        let holder = face.board.holder(&face.lease);
        match self.format {
            Format::Table => {
                let extra = [self.who(&acting, holder.as_deref(), face), pace(&view, rate)];
                self.voice.print(&format!("\n{}\n", table::render(&view, &extra)));
            }
            Format::Json => {
                let acting = acting.map(|(face, epoch)| Acting {
                    replica: face.name.clone(),
                    identity: face.identity.to_string(),
                    epoch,
                });
                let time = self.clock.wall().to_string();
                let document = Document { time, acting, lease_holder: holder, changes_per_second: rate, view: &view };
                if let Ok(text) = serde_json::to_string(&document) {
                    self.voice.print(&format!("{text}\n"));
                }
            }
        }
        (now, view.changes)
    }

    fn who(&self, acting: &Option<(&Face, String)>, holder: Option<&str>, face: &Face) -> String {
        let lease = format!("{}/{}", face.lease.namespace(), face.lease.name());
        match (acting, holder) {
            (Some((face, epoch)), _) => format!("acting: {}, epoch {epoch}, identity {}", face.name, face.identity),
            (None, Some(holder)) => match self.faces.iter().find(|face| face.identity.as_str() == holder) {
                Some(face) => format!("acting: nobody just now; {lease} is held by {}", face.name),
                None => format!("acting: not this process; {lease} is held by {holder}"),
            },
            (None, None) => format!("acting: nobody as far as seen from here; {lease} has no holder"),
        }
    }
}

fn pace(view: &View, rate: f64) -> String {
    let lag = match view.lag_millis {
        None => return format!("changes: {rate:.1}/s observed; none has been seen yet"),
        Some(millis) if millis < 0 => format!("{millis}ms after its renewTime (the holder's clock is ahead)"),
        Some(millis) => format!("{} after its renewTime", brief(Duration::from_millis(millis.unsigned_abs()))),
    };
    format!("changes: {rate:.1}/s observed; the last one was seen {lag}")
}
