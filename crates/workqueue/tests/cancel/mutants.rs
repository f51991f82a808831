//! Each planted fault that has to do with waiting makes one of the tests here fail.

use watchkeeper_workqueue::mutant::Mutant;

use crate::models::planted::must_be_caught;

#[test]
fn every_fault_of_waiting_is_caught() {
    must_be_caught(Mutant::LostNotification, "a_woken_call_that_is_dropped_wakes_another");
    must_be_caught(Mutant::LostTimeKeeper, "the_time_is_handed_over");
    must_be_caught(Mutant::LostTimeKeeper, "next::next_can_be_dropped_at_every_point");
    must_be_caught(Mutant::DropIsDone, "next::next_can_be_dropped_at_every_point");
    must_be_caught(Mutant::OneDrainer, "drains::drained_can_be_dropped_at_every_point");
}
