//! Ways to break the rules of the election, for tests only.
//!
//! Each field breaks one rule. The simulation and the explorer must find a broken promise for each of them; that proves that
//! they could find one in the real rules. Outside tests everything is false, and there is no way to change it.

/// The rules that are broken; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Breaks C1: a candidate takes over what it sees, without waiting.
    pub(crate) skip_the_wait: bool,
    /// Breaks C2: a candidate waits for its own lease duration, whatever is recorded.
    pub(crate) wait_own_duration: bool,
    /// Breaks C2: an edit of the recorded duration cuts the wait short.
    pub(crate) believe_shortened: bool,
    /// Breaks C3: a blank holder is taken for a release.
    pub(crate) trust_blank_holder: bool,
    /// Breaks H1: a renewal counts from its answer.
    pub(crate) count_from_answer: bool,
    /// Breaks H2: a holder that sees another holder goes on until its time runs out.
    pub(crate) ignore_other_holders: bool,
    /// Breaks C3: a missing Lease is created, held, at once.
    pub(crate) create_at_once: bool,
}

#[cfg(test)]
impl Rules {
    /// What client-go does, as far as these rules can say it. It also releases before its work has stopped.
    pub(crate) const CLIENT_GO: Self = Self {
        skip_the_wait: false,
        wait_own_duration: false,
        believe_shortened: true,
        trust_blank_holder: true,
        count_from_answer: true,
        ignore_other_holders: true,
        create_at_once: true,
    };
}
