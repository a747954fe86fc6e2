//! One container by example. The machine as a whole is explored in `tests/model`.

use std::vec::Vec;

use super::*;

const CRASH: Event = Event::Exited(Outcome::Code(1));
const DONE: Event = Event::Exited(Outcome::Code(0));

/// A container, its policy and a clock.
struct Desk {
    container: Container,
    policy: Policy,
    now: Time,
}

impl Desk {
    fn new(goal: Goal, recovery: Recovery) -> Self {
        let policy = Policy {
            goal,
            timeout: Span::seconds(30),
            restart: RestartPolicy::Container,
            recovery,
            grace: policy::STOP_GRACE,
        };
        Self { container: Container::new(), policy, now: Time(0) }
    }

    /// Takes events in turn; gives all that was asked for except reports.
    fn take(&mut self, events: &[Event]) -> Vec<Effect> {
        let mut orders = Vec::new();
        for event in events {
            let (container, effects) = self.container.step(&self.policy, self.now, *event);
            self.container = container;
            orders.extend(effects.into_iter().filter(|effect| !matches!(effect, Effect::Report(_))));
        }
        orders
    }

    fn wait(&mut self, span: Span) -> Vec<Effect> {
        self.now = self.now.after(span);
        self.take(&[Event::Elapsed])
    }

    fn up(mut self) -> Self {
        assert_eq!(self.take(&[Event::Allowed, Event::Mounted, Event::Started]), [Effect::Mount, Effect::Start]);
        self
    }

    /// Goes down and is unmounted.
    fn down(&mut self, how: Event) -> Vec<Effect> {
        self.take(&[how, Event::Unmounted])
    }

    fn status(&self) -> Status {
        self.container.status()
    }

    fn standing(&self) -> Option<Standing> {
        self.container.standing(&self.policy)
    }
}

fn recovery(policy: RecoveryPolicy) -> Recovery {
    Recovery {
        policy,
        max_retries: 2,
        retry_delay: Span::seconds(5),
        backoff_factor: Factor(2_000),
        backoff_policy: Backoff::Never,
        ..Recovery::default()
    }
}

#[test]
fn a_container_is_mounted_then_started_and_each_status_is_reported_once() {
    let mut desk = Desk::new(Goal::Started, Recovery::default());
    let mut reports = Vec::new();
    for event in [Event::Held, Event::Held, Event::Allowed, Event::Mounted, Event::Started, Event::Elapsed] {
        let (next, effects) = desk.container.step(&desk.policy, desk.now, event);
        desk.container = next;
        reports.extend(effects.into_iter().filter(|effect| matches!(effect, Effect::Report(_))));
    }
    let expected = [Status::Blocked, Status::Installed, Status::Starting, Status::Started].map(Effect::Report);
    assert_eq!(reports, expected);
}

#[test]
fn a_container_of_volumes_only_is_never_started() {
    let mut desk = Desk::new(Goal::Mounted, Recovery::default());
    assert_eq!(desk.take(&[Event::Allowed, Event::Mounted]), [Effect::Mount]);
    assert_eq!((desk.status(), desk.standing()), (Status::Mounted, Some(Standing::Met)));
}

#[test]
fn ready_needs_the_signal_and_only_ready_expects_it() {
    let mut desk = Desk::new(Goal::Ready, Recovery::default()).up();
    assert!(desk.container.expects_signal(&desk.policy));
    assert_eq!(desk.standing(), Some(Standing::Unmet));
    desk.take(&[Event::Signalled]);
    assert_eq!((desk.status(), desk.standing()), (Status::Ready, Some(Standing::Met)));

    let mut other = Desk::new(Goal::Started, Recovery::default()).up();
    assert!(!other.container.expects_signal(&other.policy));
    other.take(&[Event::Signalled]);
    assert_eq!(other.status(), Status::Started);
}

#[test]
fn what_is_found_unready_has_missed_its_goal_at_once_and_may_still_become_ready() {
    let mut desk = Desk::new(Goal::Ready, Recovery::default()).up();
    assert_eq!(desk.take(&[Event::FoundUnready]), []);
    assert_eq!((desk.status(), desk.standing()), (Status::Started, Some(Standing::Missed)));
    assert_eq!(desk.container.deadline(), None);
    desk.take(&[Event::TrialBegan]);
    assert_eq!(desk.standing(), Some(Standing::Unmet), "a trial gives it another deadline");
    desk.take(&[Event::FoundUnready, Event::Signalled]);
    assert_eq!((desk.status(), desk.standing()), (Status::Ready, Some(Standing::Met)));
}

#[test]
fn nobody_is_found_unready_who_is_ready_or_goes_or_need_not_say() {
    for (goal, before) in [
        (Goal::Started, [].as_slice()),
        (Goal::Ready, &[Event::Signalled]),
        (Goal::Ready, &[Event::StopAsked]),
        (Goal::Ready, &[Event::RestartAsked]),
        (Goal::Ready, &[CRASH]),
    ] {
        let mut desk = Desk::new(goal, recovery(RecoveryPolicy::Always)).up();
        desk.take(before);
        let container = desk.container;
        desk.take(&[Event::FoundUnready]);
        assert_eq!(desk.container, container, "{goal:?} {before:?}");
    }
}

#[test]
fn without_recovery_an_exit_is_a_failure_and_no_reboot() {
    for exit in [CRASH, DONE] {
        let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
        assert_eq!(desk.down(exit), [Effect::Unmount]);
        assert_eq!((desk.status(), desk.standing()), (Status::Failed, Some(Standing::Crashed)));
        assert_eq!(desk.container.deadline().map(|due| due.0), Some(30_000));
    }
}

#[test]
fn without_recovery_a_system_container_asks_for_one_reboot_and_stays_down_when_refused() {
    let mut desk = Desk::new(Goal::Started, Recovery::default());
    desk.policy.restart = RestartPolicy::System;
    let mut desk = desk.up();
    assert_eq!(desk.down(CRASH), [Effect::Unmount, Effect::AskReboot]);
    assert_eq!(desk.take(&[Event::RebootRefused, Event::RebootRefused, Event::Elapsed]), []);
    assert_eq!(desk.status(), Status::Failed);
}

#[test]
fn a_crash_is_retried_after_its_delay_and_no_sooner() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.down(CRASH);
    assert_eq!((desk.status(), desk.standing()), (Status::Recovering, Some(Standing::Unmet)));
    assert_eq!(desk.container.next_retry(), Some(Time(5_000)));
    assert_eq!(desk.container.retries_left(&desk.policy), Some(1));
    desk.wait(Span(4_999));
    assert_eq!(desk.status(), Status::Recovering);
    desk.wait(Span(1));
    assert!(desk.container.waits());
    let mut desk = desk.up();
    desk.down(CRASH);
    assert_eq!(desk.container.next_retry(), Some(Time(15_000)));
}

#[test]
fn the_delay_begins_when_nothing_is_left_of_the_last_run() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.take(&[CRASH]);
    assert_eq!(desk.wait(Span::seconds(9)), []);
    desk.take(&[Event::Unmounted]);
    assert_eq!(desk.container.next_retry(), Some(Time(14_000)));
}

/// Crashes it until it is not tried again; gives the number of starts and the last orders.
fn exhaust(desk: &mut Desk) -> (u32, Vec<Effect>) {
    let mut starts = 0;
    for _ in 0..10 {
        let orders = desk.take(&[Event::Allowed, Event::Mounted, Event::Started]);
        starts += orders.iter().filter(|order| **order == Effect::Start).count() as u32;
        let last = desk.down(CRASH);
        if desk.standing() == Some(Standing::Crashed) {
            return (starts, last);
        }
        desk.wait(Span::seconds(100));
    }
    panic!("it is tried for ever");
}

#[test]
fn the_retries_are_as_many_as_the_policy_says() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always));
    assert_eq!(exhaust(&mut desk), (3, [Effect::Unmount].to_vec()));
    assert_eq!(desk.status(), Status::Failed);
    assert_eq!(desk.container.retries_left(&desk.policy), Some(0));
}

#[test]
fn spent_retries_ask_for_a_reboot_where_the_policy_says_so() {
    let spent = Recovery { backoff_policy: Backoff::Reboot, ..recovery(RecoveryPolicy::OnFailure) };
    let mut desk = Desk::new(Goal::Started, spent);
    assert_eq!(exhaust(&mut desk).1, [Effect::Unmount, Effect::AskReboot]);
}

#[test]
fn never_outranks_the_policy_system() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always));
    desk.policy.restart = RestartPolicy::System;
    assert_eq!(exhaust(&mut desk).1, [Effect::Unmount]);
}

#[test]
fn spent_retries_can_rest_and_begin_afresh_but_count_as_a_crash_meanwhile() {
    let spent = Recovery { backoff_policy: Backoff::After(Span::seconds(600)), ..recovery(RecoveryPolicy::Always) };
    let mut desk = Desk::new(Goal::Started, spent);
    exhaust(&mut desk);
    assert_eq!((desk.status(), desk.standing()), (Status::Recovering, Some(Standing::Crashed)));
    assert_eq!(desk.container.retries_left(&desk.policy), Some(2));
    desk.wait(Span::seconds(600));
    assert!(desk.container.waits());
}

#[test]
fn zero_retries_means_any_number() {
    let mut desk = Desk::new(Goal::Started, Recovery { max_retries: 0, ..recovery(RecoveryPolicy::Always) });
    for _ in 0..100 {
        desk.take(&[Event::Allowed, Event::Mounted, Event::Started, CRASH, Event::Unmounted]);
        assert_eq!(desk.status(), Status::Recovering);
        desk.wait(Span::seconds(3_600));
    }
    assert_eq!(desk.container.retries_left(&desk.policy), None);
}

#[test]
fn on_failure_lets_a_finished_container_rest() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::OnFailure)).up();
    desk.down(DONE);
    assert_eq!((desk.status(), desk.standing()), (Status::Stopped, None));
    assert!(!desk.container.is_user_stopped());
}

#[test]
fn work_that_ends_before_its_goal_is_not_excused() {
    let mut desk = Desk::new(Goal::Ready, recovery(RecoveryPolicy::OnFailure)).up();
    desk.down(DONE);
    assert_eq!((desk.status(), desk.standing()), (Status::Stopped, Some(Standing::Unmet)));
    desk.wait(Span::seconds(30));
    assert_eq!(desk.standing(), Some(Standing::Missed));
}

#[test]
fn always_and_unless_stopped_restart_a_finished_container() {
    for policy in [RecoveryPolicy::Always, RecoveryPolicy::UnlessStopped] {
        let mut desk = Desk::new(Goal::Started, recovery(policy)).up();
        desk.down(DONE);
        assert_eq!(desk.status(), Status::Recovering);
    }
}

#[test]
fn every_other_end_is_a_failure() {
    for outcome in [Outcome::Code(-1), Outcome::Signal(9), Outcome::OutOfMemory] {
        let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::OnFailure)).up();
        desk.down(Event::Exited(outcome));
        assert_eq!(desk.status(), Status::Recovering);
    }
}

#[test]
fn a_failed_mount_and_a_failed_start_are_cleaned_up_and_retried() {
    for before in [&[Event::Allowed][..], &[Event::Allowed, Event::Mounted]] {
        let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::OnFailure));
        desk.take(before);
        assert_eq!(desk.down(Event::Failed), [Effect::Unmount]);
        assert_eq!(desk.status(), Status::Recovering);
    }
}

#[test]
fn a_long_run_forgives_the_restarts_before_it() {
    let long = Recovery { reset_window: Span::seconds(60), ..recovery(RecoveryPolicy::Always) };
    let mut desk = Desk::new(Goal::Started, long).up();
    desk.down(CRASH);
    desk.wait(Span::seconds(5));
    let mut desk = desk.up();
    desk.wait(Span::seconds(59));
    assert_eq!(desk.container.retries(), 1);
    desk.wait(Span::seconds(1));
    assert_eq!(desk.container.retries(), 0);
}

#[test]
fn the_first_crash_counts_whatever_the_reset_window() {
    let long = Recovery { reset_window: Span::seconds(60), ..recovery(RecoveryPolicy::Always) };
    let mut desk = Desk::new(Goal::Started, long).up();
    desk.now = Time(10_000);
    desk.down(CRASH);
    assert_eq!(desk.container.retries(), 1);
}

#[test]
fn a_stop_is_polite_first() {
    let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
    assert_eq!(desk.take(&[Event::StopAsked]), [Effect::Terminate]);
    assert_eq!(desk.wait(Span(4_999)), []);
    assert_eq!(desk.wait(Span(1)), [Effect::Kill]);
    assert_eq!(desk.wait(Span::seconds(60)), []);
    assert_eq!(desk.down(Event::Exited(Outcome::Signal(9))), [Effect::Unmount]);
    assert_eq!(desk.status(), Status::Stopped);
    assert!(desk.container.is_user_stopped());
}

#[test]
fn what_a_person_stopped_stays_stopped_under_every_policy() {
    for policy in [RecoveryPolicy::No, RecoveryPolicy::Always, RecoveryPolicy::OnFailure, RecoveryPolicy::UnlessStopped]
    {
        let mut desk = Desk::new(Goal::Started, recovery(policy)).up();
        desk.take(&[Event::StopAsked, CRASH, Event::Unmounted, Event::Allowed]);
        assert_eq!(desk.wait(Span::seconds(10_000)), []);
        assert_eq!(desk.status(), Status::Stopped);
    }
}

#[test]
fn a_stop_ends_a_recovery() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.down(CRASH);
    desk.take(&[Event::StopAsked]);
    assert_eq!((desk.status(), desk.container.next_retry()), (Status::Stopped, None));
}

#[test]
fn a_stop_while_mounting_unmounts_first() {
    let mut desk = Desk::new(Goal::Started, Recovery::default());
    desk.take(&[Event::Allowed, Event::StopAsked]);
    assert_eq!(desk.status(), Status::Stopping);
    assert_eq!(desk.take(&[Event::Mounted]), [Effect::Unmount]);
    desk.take(&[Event::Unmounted]);
    assert_eq!(desk.status(), Status::Stopped);
}

#[test]
fn a_start_that_fails_while_it_is_being_stopped_leaves_it_stopped() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always));
    desk.take(&[Event::Allowed, Event::Mounted, Event::StopAsked]);
    assert_eq!(desk.take(&[Event::Started, Event::Failed, Event::Unmounted]), [Effect::Unmount]);
    assert_eq!(desk.status(), Status::Stopped);
}

#[test]
fn a_start_during_a_stop_makes_it_a_restart() {
    let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
    desk.take(&[Event::StopAsked, Event::StartAsked, DONE, Event::Unmounted]);
    assert!(desk.container.waits());
    assert!(!desk.container.is_user_stopped());
}

#[test]
fn a_stop_during_a_restart_makes_it_a_stop() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.take(&[Event::RestartAsked, Event::StopAsked, DONE, Event::Unmounted]);
    assert_eq!(desk.status(), Status::Stopped);
}

#[test]
fn a_restart_comes_back_with_all_its_retries() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.down(CRASH);
    desk.wait(Span::seconds(5));
    let mut desk = desk.up();
    assert_eq!(desk.take(&[Event::RestartAsked]), [Effect::Terminate]);
    desk.down(DONE);
    assert!(desk.container.waits());
    assert_eq!(desk.container.retries_left(&desk.policy), Some(2));
}

#[test]
fn a_person_brings_back_what_has_failed() {
    for ask in [Event::StartAsked, Event::RestartAsked] {
        let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
        desk.down(CRASH);
        desk.take(&[ask]);
        assert_eq!(desk.up().status(), Status::Started);
    }
}

#[test]
fn a_start_is_heard_while_the_failure_is_still_being_cleaned_up() {
    let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
    desk.take(&[CRASH]);
    assert_eq!(desk.standing(), Some(Standing::Crashed));
    desk.take(&[Event::StartAsked, Event::Unmounted]);
    assert!(desk.container.waits());
}

#[test]
fn a_run_of_volumes_is_restarted_by_mounting_them_again() {
    let mut desk = Desk::new(Goal::Mounted, Recovery::default());
    desk.take(&[Event::Allowed, Event::Mounted]);
    assert_eq!(desk.take(&[Event::RestartAsked, Event::Unmounted, Event::Allowed]), [Effect::Unmount, Effect::Mount]);
}

#[test]
fn a_start_of_what_runs_changes_nothing() {
    let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
    let before = desk.container;
    assert_eq!(desk.take(&[Event::StartAsked]), []);
    assert_eq!(desk.container, before);
}

#[test]
fn what_the_revision_gives_up_nobody_brings_back() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.take(&[Event::Withdrawn, Event::StartAsked, Event::RestartAsked, DONE, Event::StartAsked, Event::Unmounted]);
    assert_eq!(desk.take(&[Event::StartAsked, Event::RestartAsked, Event::StopAsked, Event::Allowed]), []);
    assert_eq!(desk.status(), Status::Stopped);
    assert!(desk.container.is_down() && !desk.container.is_user_stopped());
}

#[test]
fn restarts_do_not_move_the_deadline_of_the_goal() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.now = Time(28_000);
    desk.down(CRASH);
    assert_eq!(desk.standing(), Some(Standing::Unmet));
    desk.wait(Span::seconds(2));
    assert_eq!(desk.standing(), Some(Standing::Missed));
    desk.wait(Span::seconds(3));
    let desk = desk.up();
    assert_eq!(desk.standing(), Some(Standing::Met));
}

#[test]
fn a_mount_that_hangs_misses_the_goal() {
    let mut desk = Desk::new(Goal::Mounted, Recovery::default());
    desk.take(&[Event::Allowed]);
    desk.wait(Span::seconds(30));
    assert_eq!(desk.standing(), Some(Standing::Missed));
}

#[test]
fn a_container_whose_turn_has_not_come_has_all_its_time() {
    let mut desk = Desk::new(Goal::Started, Recovery::default());
    desk.take(&[Event::Held]);
    desk.wait(Span::seconds(1_000));
    assert_eq!((desk.standing(), desk.container.deadline()), (Some(Standing::Unmet), None));
}

#[test]
fn a_stop_in_a_trial_is_held_against_it_and_one_before_it_is_not() {
    let mut during = Desk::new(Goal::Started, Recovery::default()).up();
    during.take(&[Event::TrialBegan, Event::StopAsked, DONE, Event::Unmounted]);
    assert_eq!(during.standing(), Some(Standing::Unmet));
    during.wait(Span::seconds(30));
    assert_eq!(during.standing(), Some(Standing::Missed));

    let mut before = Desk::new(Goal::Started, Recovery::default()).up();
    before.take(&[Event::StopAsked, DONE, Event::Unmounted, Event::TrialBegan]);
    before.wait(Span::seconds(30));
    assert_eq!(before.standing(), None);
}

#[test]
fn what_had_failed_before_a_trial_is_not_held_against_it() {
    let mut desk = Desk::new(Goal::Started, Recovery::default()).up();
    desk.down(CRASH);
    assert_eq!(desk.standing(), Some(Standing::Crashed));
    desk.take(&[Event::TrialBegan]);
    assert_eq!(desk.standing(), None);
    desk.take(&[Event::StartAsked, Event::Allowed]);
    assert_eq!(desk.standing(), Some(Standing::Unmet), "a person has started it: now it counts");
    desk.wait(Span::seconds(30));
    assert_eq!(desk.standing(), Some(Standing::Missed));
}

#[test]
fn a_container_stopped_before_its_turn_blocks_nobody_for_ever() {
    let mut desk = Desk::new(Goal::Started, Recovery::default());
    desk.take(&[Event::Held, Event::StopAsked]);
    assert_eq!(desk.standing(), Some(Standing::Unmet));
    desk.wait(Span::seconds(30));
    assert_eq!(desk.standing(), Some(Standing::Missed));
}

#[test]
fn a_trial_in_place_gives_what_runs_on_a_deadline_of_its_own() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.wait(Span::seconds(86_400));
    desk.take(&[Event::TrialBegan]);
    desk.down(CRASH);
    assert_eq!(desk.standing(), Some(Standing::Unmet));
}

#[test]
fn a_container_is_stable_once_it_has_held_its_goal_for_its_time() {
    let soak = Recovery { stable_timeout: Span::seconds(10), ..recovery(RecoveryPolicy::Always) };
    let mut desk = Desk::new(Goal::Ready, soak).up();
    desk.wait(Span::seconds(20));
    assert!(!desk.container.is_stable());
    desk.take(&[Event::Signalled]);
    assert_eq!(desk.container.deadline(), Some(Time(30_000)));
    desk.wait(Span(9_999));
    assert!(!desk.container.is_stable());
    desk.wait(Span(1));
    assert!(desk.container.is_stable());
    desk.down(CRASH);
    assert!(!desk.container.is_stable());
}

#[test]
fn without_a_time_to_hold_it_the_goal_is_stable_at_once() {
    assert!(Desk::new(Goal::Started, Recovery::default()).up().container.is_stable());
}

#[test]
fn an_early_wake_up_and_a_clock_that_went_back_change_nothing() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.now = Time(1_000);
    desk.down(CRASH);
    let before = desk.container;
    desk.now = Time(0);
    assert_eq!(desk.take(&[Event::Elapsed]), []);
    assert_eq!(desk.container, before);
}

#[test]
fn a_rebased_container_behaves_alike() {
    let mut desk = Desk::new(Goal::Started, recovery(RecoveryPolicy::Always)).up();
    desk.now = Time(7_000);
    desk.down(CRASH);
    let rebased = desk.container.rebased(desk.now);
    assert_eq!(rebased.next_retry(), Some(Time(5_000)));
    assert_eq!(rebased.deadline(), Some(Time(5_000)));
    let later = desk.container.step(&desk.policy, Time(12_000), Event::Elapsed).0.rebased(Time(12_000));
    assert_eq!(rebased.step(&desk.policy, Time(5_000), Event::Elapsed).0.rebased(Time(5_000)), later);
}
