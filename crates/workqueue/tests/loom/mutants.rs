//! Each planted fault makes one of the models fail, so the models would see it.

use watchkeeper_workqueue::mutant::Mutant;

use crate::models::planted::must_be_caught;

#[test]
fn every_fault_is_caught() {
    for mutant in Mutant::ALL {
        let model = match mutant {
            Mutant::LostNotification => "adds::an_add_reaches_a_worker",
            Mutant::DoubleHandOut => "adds::two_workers_never_have_one_key",
            Mutant::LostReAdd => "adds::an_add_while_a_worker_succeeds_is_one_more_run",
            Mutant::OneDrainer => "ends::the_last_outcome_ends_all_drains",
            Mutant::LostTimeKeeper => "time::a_keeper_that_gives_up_is_replaced",
            Mutant::DropIsDone => "ends::a_dropped_item_reaches_a_worker",
        };
        must_be_caught(mutant, model);
    }
}
