//! Withdrawing, pausing, and the end.

use super::{Naive, State};

impl Naive {
    pub(crate) fn withdraw(&mut self, key: u8) -> bool {
        let had = self.key(key).due.take().is_some();
        if had {
            self.key(key).end_burst();
            self.key(key).owed = false;
            self.settle(key);
        }
        had
    }

    pub(crate) fn pause(&mut self) {
        self.paused = !self.shut_down;
    }

    pub(crate) fn pause_key(&mut self, key: u8) {
        if self.shut_down {
            self.drop_ready(key);
            self.settle(key);
            return;
        }
        self.key(key).paused = true;
        if let State::Ready(_) = self.key(key).state {
            self.key(key).state = State::Held;
            self.leave_lane(key);
        }
    }

    pub(crate) fn resume_key(&mut self, key: u8) -> bool {
        let paused = std::mem::take(&mut self.key(key).paused);
        if paused && self.key(key).state == State::Held {
            self.key(key).state = State::Idle;
            self.make_ready_again(key);
        }
        paused
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        let mut waiting: Vec<_> = (0..5).filter_map(|key| Some((self.key(key).due.take()?, key))).collect();
        waiting.sort_unstable();
        for (_, key) in waiting {
            self.key(key).end_burst();
            if std::mem::take(&mut self.key(key).owed) {
                self.make_ready(key);
            }
        }
        for key in 0..5 {
            let paused = self.paused;
            let entry = self.key(key);
            if entry.state == State::Held {
                entry.state = State::Idle;
            }
            if paused || std::mem::take(&mut self.key(key).paused) {
                self.drop_ready(key);
            }
            self.key(key).paused = false;
            self.settle(key);
        }
        self.paused = false;
    }

    pub(crate) fn discard(&mut self) {
        self.shut_down();
        (0..5).for_each(|key| {
            self.drop_ready(key);
            self.settle(key);
        });
    }

    pub(super) fn drop_ready(&mut self, key: u8) {
        match &mut self.key(key).state {
            State::InFlight { again } => *again = false,
            state @ State::Ready(_) => {
                *state = State::Idle;
                self.leave_lane(key);
            }
            _ => {}
        }
    }
}
