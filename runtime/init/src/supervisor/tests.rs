//! Scenes around a bench that obeys every order at once, except where a scene says otherwise.

use std::collections::VecDeque;

use statemachine::container::{Backoff, Factor, Goal, Outcome, Recovery, RecoveryPolicy, Status};

use super::*;

fn member(name: &str, group: usize, goal: Goal) -> Member {
    let restart = if group == 0 { RestartPolicy::System } else { RestartPolicy::Container };
    let policy =
        Policy { goal, timeout: Span::seconds(30), restart, recovery: Recovery::default(), grace: Span::seconds(5) };
    Member { name: name.into(), group, policy, after: Vec::new() }
}

struct Bench {
    supervisor: Supervisor,
    now: Time,
    /// Orders in the order they were given.
    orders: Vec<(String, Effect)>,
    /// Facts for the update machine.
    facts: Vec<Fact>,
}

impl Bench {
    fn new(members: Vec<Member>) -> Self {
        Self { supervisor: Supervisor::new(members), now: Time(0), orders: Vec::new(), facts: Vec::new() }
    }

    fn boot(members: Vec<Member>, care: update::Care) -> Self {
        let mut bench = Self::new(members);
        let out = bench.supervisor.begin(care, bench.now);
        bench.obey(out);
        bench
    }

    fn obey(&mut self, out: Vec<Output>) {
        let mut todo = VecDeque::from(out);
        while let Some(output) = todo.pop_front() {
            let (name, order) = match output {
                Output::Update(event) => {
                    self.facts.push(event);
                    continue;
                }
                Output::Container(name, order) => (name, order),
            };
            let answer = match order {
                Effect::Mount => Some(Event::Mounted),
                Effect::Start => Some(Event::Started),
                Effect::Terminate => Some(Event::Exited(Outcome::Code(0))),
                Effect::Kill => Some(Event::Exited(Outcome::Signal(9))),
                Effect::Unmount => Some(Event::Unmounted),
                Effect::AskReboot | Effect::Report(_) => None,
            };
            if !matches!(order, Effect::Report(_)) {
                self.orders.push((name.clone(), order));
            }
            if let Some(event) = answer {
                todo.extend(self.supervisor.take(&name, event, self.now));
            }
        }
    }

    fn tell(&mut self, name: &str, event: Event) {
        let out = self.supervisor.take(name, event, self.now);
        self.obey(out);
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now.after(span);
        let out = self.supervisor.elapse(self.now);
        self.obey(out);
        let next = self.supervisor.deadline();
        assert!(next.is_none_or(|at| at > self.now), "at {:?} there is something to do at {next:?}", self.now);
    }

    fn watch(&mut self) {
        let out = self.supervisor.watch(self.now);
        self.obey(out);
    }

    fn soak(&mut self, seconds: u64) {
        let out = self.supervisor.soak(Span::seconds(seconds), self.now);
        self.obey(out);
    }

    fn status(&self, name: &str) -> Status {
        let found = self.supervisor.containers().find(|(member, _)| member.name == name);
        found.expect("a container of this name").1.status()
    }

    fn started(&self) -> Vec<&str> {
        self.orders.iter().filter(|(_, order)| *order == Effect::Start).map(|(name, _)| name.as_str()).collect()
    }
}

#[test]
fn groups_start_in_order_and_each_waits_for_the_goals_of_the_one_before() {
    let mut bench = Bench::boot(vec![member("os", 0, Goal::Ready), member("app", 1, Goal::Started)], update::Care::All);
    assert_eq!(bench.started(), ["os"]);
    assert_eq!(bench.status("app"), Status::Blocked);
    bench.tell("os", Event::Signalled);
    assert_eq!(bench.started(), ["os", "app"]);
}

#[test]
fn a_container_starts_after_those_that_it_needs_and_in_spite_of_one_that_is_broken() {
    let needs = |name: &str, other: &str| Member { after: vec![other.into()], ..member(name, 1, Goal::Started) };
    let members = || vec![needs("a", "bus"), needs("b", "nobody"), member("bus", 1, Goal::Ready)];
    let mut bench = Bench::boot(members(), update::Care::All);
    assert_eq!(bench.started(), ["b", "bus"]);
    assert_eq!(bench.status("a"), Status::Blocked);
    bench.tell("bus", Event::Signalled);
    assert_eq!(bench.started(), ["b", "bus", "a"]);
    // One that goes down takes nobody along.
    bench.tell("bus", Event::Exited(Outcome::Code(1)));
    assert_eq!(bench.status("a"), Status::Started);
    let mut bench = Bench::boot(members(), update::Care::All);
    bench.pass(Span::seconds(31));
    assert_eq!(bench.started(), ["b", "bus", "a"], "the goal of `bus` is missed, and the device goes on");
}

#[test]
fn a_broken_container_does_not_keep_a_proven_device_down() {
    let mut bench = Bench::boot(vec![member("os", 0, Goal::Ready), member("app", 1, Goal::Started)], update::Care::All);
    bench.pass(Span::seconds(31));
    assert_eq!(bench.started(), ["os", "app"], "the goal of `os` is missed, and the device goes on");
    assert_eq!(bench.facts, [], "nobody judges");
}

#[test]
fn in_a_trial_the_next_group_waits_and_the_goal_is_missed_once() {
    let mut bench = Bench::new(vec![member("os", 0, Goal::Ready), member("app", 1, Goal::Started)]);
    bench.watch();
    let out = bench.supervisor.begin(update::Care::All, bench.now);
    bench.obey(out);
    bench.pass(Span::seconds(31));
    bench.pass(Span::seconds(31));
    assert_eq!(bench.started(), ["os"]);
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalMissed)]);
}

#[test]
fn goals_that_are_met_have_to_hold_for_the_whole_soak() {
    let mut bench = Bench::boot(vec![member("app", 1, Goal::Started)], update::Care::All);
    bench.watch();
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet)]);
    bench.soak(25);
    bench.pass(Span::seconds(24));
    assert_eq!(bench.facts.len(), 1);
    bench.pass(Span::seconds(1));
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet), Fact::Soaked]);
}

#[test]
fn a_soak_waits_for_the_stable_timeout_of_every_container() {
    let mut slow = member("app", 1, Goal::Started);
    slow.policy.recovery.stable_timeout = Span::seconds(60);
    let mut bench = Bench::boot(vec![slow], update::Care::All);
    bench.watch();
    bench.soak(10);
    bench.pass(Span::seconds(30));
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet)]);
    bench.pass(Span::seconds(31));
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet), Fact::Soaked]);
}

#[test]
fn a_container_that_goes_down_in_the_soak_takes_the_goals_with_it() {
    let mut app = member("app", 1, Goal::Started);
    app.policy.recovery = Recovery {
        policy: RecoveryPolicy::Always,
        max_retries: 3,
        retry_delay: Span::seconds(5),
        backoff_factor: Factor::ONE,
        backoff_policy: Backoff::Never,
        ..Recovery::default()
    };
    let mut bench = Bench::boot(vec![app], update::Care::All);
    bench.watch();
    bench.soak(25);
    bench.tell("app", Event::Exited(Outcome::Code(1)));
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet), Fact::Goals(Turn::GoalsLost)]);
    bench.pass(Span::seconds(25));
    assert_eq!(bench.facts.last(), Some(&Fact::Goals(Turn::GoalsMet)), "it came back, and the soak did not go on");
    bench.soak(25);
    bench.pass(Span::seconds(25));
    assert_eq!(bench.facts.last(), Some(&Fact::Soaked));
}

#[test]
fn an_update_in_place_stops_only_what_changes_and_starts_the_new_after_the_old() {
    let members = vec![member("os", 0, Goal::Started), member("web", 1, Goal::Started), member("db", 1, Goal::Started)];
    let mut bench = Bench::boot(members, update::Care::All);
    bench.orders.clear();
    let switch = Switch { stop: vec!["web".into()], start: vec![member("web", 1, Goal::Ready)] };
    let out = bench.supervisor.switch(switch, bench.now);
    bench.obey(out);
    let web = |effect| ("web".to_owned(), effect);
    let expected = [Effect::Terminate, Effect::Unmount, Effect::Mount, Effect::Start].map(web);
    assert_eq!(bench.orders, expected);
    assert_eq!(bench.facts, [Fact::Switched]);
    bench.watch();
    assert_eq!(bench.facts.len(), 1, "the new one has not said that it is ready");
    bench.tell("web", Event::Signalled);
    assert_eq!(bench.facts.last(), Some(&Fact::Goals(Turn::GoalsMet)));
}

#[test]
fn a_container_that_fails_for_good_is_a_verdict_in_a_trial() {
    let mut bench = Bench::boot(vec![member("app", 1, Goal::Started)], update::Care::All);
    bench.watch();
    bench.tell("app", Event::Exited(Outcome::Signal(11)));
    assert_eq!(bench.facts, [Fact::Goals(Turn::GoalsMet), Fact::Goals(Turn::Crashed)]);
    assert_eq!(bench.status("app"), Status::Failed);
}

#[test]
fn apps_are_held_back_when_boots_keep_ending_and_the_rest_starts() {
    let members = || vec![member("os", 0, Goal::Started), member("app", 1, Goal::Started)];
    let holds = |bench: &Bench| {
        let held = members().iter().map(|member| bench.supervisor.holds_back(member)).collect::<Vec<_>>();
        (held[0], held[1])
    };
    let bench = Bench::boot(members(), update::Care::WithoutApps);
    assert_eq!(bench.started(), ["os"]);
    assert_eq!(holds(&bench), (None, Some(Hold::ThisBoot)));
    let mut bench = Bench::boot(members(), update::Care::DelayApps(1));
    bench.pass(Span::seconds(119));
    assert_eq!(bench.started(), ["os"]);
    assert_eq!(holds(&bench), (None, Some(Hold::Until(Time(120_000)))));
    assert_eq!(bench.supervisor.deadline(), Some(Time(120_000)));
    bench.pass(Span::seconds(1));
    assert_eq!(bench.started(), ["os", "app"]);
    assert_eq!(holds(&bench), (None, None));
}

#[test]
fn the_wait_of_apps_never_exceeds_an_hour() {
    let mut bench = Bench::new(vec![member("app", 1, Goal::Started)]);
    let out = bench.supervisor.begin(update::Care::DelayApps(255), bench.now);
    bench.obey(out);
    assert_eq!(bench.supervisor.deadline(), Some(Time(3_600_000)));
}

#[test]
fn everything_goes_down_at_the_end_of_a_boot() {
    let mut bench =
        Bench::boot(vec![member("os", 0, Goal::Started), member("app", 1, Goal::Started)], update::Care::All);
    let out = bench.supervisor.withdraw(bench.now);
    bench.obey(out);
    assert!(bench.supervisor.is_down());
}

#[test]
fn a_fact_about_a_container_that_is_gone_changes_nothing() {
    let mut bench = Bench::boot(vec![member("app", 1, Goal::Started)], update::Care::All);
    let before = bench.orders.len();
    bench.tell("stranger", Event::Exited(Outcome::Code(0)));
    assert_eq!(bench.orders.len(), before);
}

#[test]
fn a_trial_does_not_wait_for_apps_that_stay_down_in_this_boot() {
    let mut bench = Bench::boot(vec![member("app", 1, Goal::Started)], update::Care::WithoutApps);
    bench.watch();
    assert_eq!(bench.facts, [Fact::Goals(Turn::Crashed)]);
}

#[test]
fn an_update_is_not_blamed_for_an_app_that_had_failed_before_and_that_it_keeps() {
    let members = vec![member("os", 0, Goal::Started), member("app", 1, Goal::Started)];
    let mut bench = Bench::boot(members, update::Care::All);
    bench.tell("app", Event::Exited(Outcome::Code(1)));
    assert_eq!(bench.status("app"), Status::Failed);
    let out =
        bench.supervisor.switch(Switch { stop: Vec::new(), start: vec![member("new", 1, Goal::Started)] }, bench.now);
    bench.obey(out);
    bench.watch();
    bench.soak(10);
    bench.pass(Span::seconds(11));
    assert_eq!(bench.facts, [Fact::Switched, Fact::Goals(Turn::GoalsMet), Fact::Soaked]);
    assert_eq!((bench.status("app"), bench.status("new")), (Status::Failed, Status::Started));
}

#[test]
fn a_switch_that_was_given_up_says_nothing_when_the_last_one_dies_after_all() {
    let members = vec![member("os", 0, Goal::Started), member("web", 1, Goal::Started)];
    let mut bench = Bench::boot(members, update::Care::All);
    let switch = Switch { stop: vec!["web".into()], start: vec![member("web", 1, Goal::Ready)] };
    // Nobody obeys: it does not die.
    let _ = bench.supervisor.switch(switch, bench.now);
    bench.supervisor.forget_switch();
    bench.tell("web", Event::Exited(Outcome::Signal(9)));
    assert_eq!(bench.facts, [], "the update machine undoes, and would take it for the way back");
    assert_eq!(bench.started(), ["os", "web"], "nothing comes in for it");
    assert_eq!(bench.supervisor.containers().count(), 2);
}
