//! Every state with every event, and the waits between restarts.

use super::*;

const GRACE: Duration = Duration::from_secs(20);
const FAILED: Exit = Exit::Code(78);
const KILLED: Exit = Exit::Signal(9);

fn supervisor(restart: Restart) -> Supervisor {
    Supervisor::new(Policy::new(restart, GRACE, None))
}

fn ended(exit: Exit) -> Event {
    Event::Ended {
        exit,
        uptime: Duration::from_secs(1),
        cause: Cause::Runtime,
    }
}

/// A supervisor in the state that these events lead to.
fn after(events: &[Event]) -> Supervisor {
    let mut supervisor = supervisor(Restart::OnFailure);
    for event in events {
        supervisor.handle(*event, 0.0);
    }
    supervisor
}

#[expect(clippy::too_many_lines, reason = "one table")]
#[test]
fn every_state_answers_every_event() {
    use Effect::{Arm, Disarm, EndProbe, Finish, Kill, Launch, Probe, Terminate};
    let first = Duration::from_secs(1);
    let start: &[Event] = &[Event::Start];
    let ready: &[Event] = &[Event::Start, Event::Ready];
    let crashed: &[Event] = &[Event::Start, ended(FAILED)];
    let stopping: &[Event] = &[Event::Start, Event::Stop];
    let restarting: &[Event] = &[Event::Start, Event::Restart];
    let finished: &[Event] = &[Event::Start, ended(Exit::Code(0))];
    let by_terminal = Event::Ended {
        exit: Exit::Signal(2),
        uptime: first,
        cause: Cause::Terminal,
    };
    let rows: Vec<(&[Event], Event, State, Vec<Effect>)> = vec![
        (&[], Event::Start, State::Starting, vec![Launch, Probe]),
        (
            &[],
            Event::Stop,
            State::Finished(Exit::Code(0)),
            vec![Finish(Exit::Code(0))],
        ),
        (&[], Event::Restart, State::Idle, vec![]),
        (&[], Event::FilesChanged, State::Idle, vec![]),
        (start, Event::Ready, State::Ready, vec![]),
        (start, Event::FilesChanged, State::Starting, vec![]),
        (start, Event::TimerOver, State::Starting, vec![]),
        (start, Event::Start, State::Starting, vec![]),
        (
            start,
            ended(FAILED),
            State::Waiting(FAILED),
            vec![EndProbe, Arm(first)],
        ),
        (
            start,
            ended(Exit::Code(0)),
            State::Finished(Exit::Code(0)),
            vec![EndProbe, Finish(Exit::Code(0))],
        ),
        (
            start,
            by_terminal,
            State::Finished(Exit::Signal(2)),
            vec![EndProbe, Finish(Exit::Signal(2))],
        ),
        (
            start,
            Event::StartFailed(StartFailure::NotFound),
            State::Finished(NOT_FOUND),
            vec![EndProbe, Finish(NOT_FOUND)],
        ),
        (
            start,
            Event::StartFailed(StartFailure::NotExecutable),
            State::Finished(NOT_EXECUTABLE),
            vec![EndProbe, Finish(NOT_EXECUTABLE)],
        ),
        (
            start,
            Event::StartFailed(StartFailure::Shortage),
            State::Waiting(NOT_EXECUTABLE),
            vec![EndProbe, Arm(first)],
        ),
        (
            start,
            Event::Stop,
            State::Stopping(Why::Shutdown),
            vec![EndProbe, Terminate, Arm(GRACE)],
        ),
        (
            ready,
            Event::Stop,
            State::Stopping(Why::Shutdown),
            vec![EndProbe, Terminate, Arm(GRACE)],
        ),
        (
            ready,
            Event::Restart,
            State::Stopping(Why::Restart),
            vec![EndProbe, Terminate, Arm(GRACE)],
        ),
        (ready, Event::FilesChanged, State::Ready, vec![]),
        (
            ready,
            ended(KILLED),
            State::Waiting(KILLED),
            vec![EndProbe, Arm(first)],
        ),
        (
            crashed,
            Event::TimerOver,
            State::Starting,
            vec![Launch, Probe],
        ),
        (
            crashed,
            Event::FilesChanged,
            State::Starting,
            vec![Disarm, Launch, Probe],
        ),
        (
            crashed,
            Event::Restart,
            State::Starting,
            vec![Disarm, Launch, Probe],
        ),
        (
            crashed,
            Event::Stop,
            State::Finished(FAILED),
            vec![Disarm, Finish(FAILED)],
        ),
        (crashed, Event::Ready, State::Waiting(FAILED), vec![]),
        (
            stopping,
            Event::TimerOver,
            State::Stopping(Why::Shutdown),
            vec![Kill],
        ),
        (
            stopping,
            Event::Stop,
            State::Stopping(Why::Shutdown),
            vec![],
        ),
        (
            stopping,
            Event::Restart,
            State::Stopping(Why::Shutdown),
            vec![],
        ),
        (
            stopping,
            Event::Ready,
            State::Stopping(Why::Shutdown),
            vec![],
        ),
        (
            stopping,
            ended(KILLED),
            State::Finished(KILLED),
            vec![Disarm, Finish(KILLED)],
        ),
        (
            stopping,
            ended(FAILED),
            State::Finished(FAILED),
            vec![Disarm, Finish(FAILED)],
        ),
        (
            restarting,
            Event::TimerOver,
            State::Stopping(Why::Restart),
            vec![Kill],
        ),
        (
            restarting,
            Event::Stop,
            State::Stopping(Why::Shutdown),
            vec![],
        ),
        (
            restarting,
            ended(KILLED),
            State::Starting,
            vec![Disarm, Launch, Probe],
        ),
        (
            finished,
            Event::Start,
            State::Finished(Exit::Code(0)),
            vec![],
        ),
        (
            finished,
            Event::Stop,
            State::Finished(Exit::Code(0)),
            vec![],
        ),
        (
            finished,
            Event::Restart,
            State::Finished(Exit::Code(0)),
            vec![],
        ),
    ];
    for (before, event, state, effects) in rows {
        let mut supervisor = after(before);
        let answer = supervisor.handle(event, 0.0);
        assert_eq!(
            (supervisor.state(), answer),
            (state, effects),
            "{event:?} after {before:?}"
        );
    }
}

#[test]
fn the_policy_says_who_is_started_again() {
    for (restart, exit, again) in [
        (Restart::Never, Exit::Code(0), false),
        (Restart::Never, FAILED, false),
        (Restart::OnFailure, Exit::Code(0), false),
        (Restart::OnFailure, FAILED, true),
        (Restart::OnFailure, KILLED, true),
        (Restart::Always, Exit::Code(0), true),
        (Restart::Always, KILLED, true),
    ] {
        let mut supervisor = supervisor(restart);
        supervisor.handle(Event::Start, 0.0);
        supervisor.handle(ended(exit), 0.0);
        let expected = if again {
            State::Waiting(exit)
        } else {
            State::Finished(exit)
        };
        assert_eq!(supervisor.state(), expected, "{restart} {exit}");
    }
}

/// The wait after a runtime ended that had run for `uptime`.
fn wait(supervisor: &mut Supervisor, uptime: u64, random: f64) -> Duration {
    supervisor.handle(Event::Start, 0.0);
    supervisor.handle(Event::TimerOver, 0.0);
    let event = Event::Ended {
        exit: FAILED,
        uptime: Duration::from_secs(uptime),
        cause: Cause::Runtime,
    };
    let effects = supervisor.handle(event, random);
    effects
        .iter()
        .find_map(|effect| {
            if let Effect::Arm(wait) = effect {
                Some(*wait)
            } else {
                None
            }
        })
        .unwrap()
}

#[test]
fn waits_double_up_to_the_longest_and_start_anew_after_a_long_life() {
    let mut supervisor = supervisor(Restart::Always);
    let waits: Vec<_> = (0..10)
        .map(|_| wait(&mut supervisor, 2, 0.0).as_secs())
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
    assert_eq!(wait(&mut supervisor, 299, 0.0).as_secs(), 180);
    assert_eq!(wait(&mut supervisor, 300, 0.0).as_secs(), 1);
    assert!(
        wait(&mut supervisor, 2, 0.99) < Duration::from_millis(1100),
        "chance takes up to a half off"
    );
}

#[test]
fn a_stop_ends_every_state_for_good() {
    for events in [
        &[][..],
        &[Event::Start],
        &[Event::Start, Event::Ready],
        &[Event::Start, ended(FAILED)],
        &[Event::Start, Event::Restart],
        &[Event::Start, Event::Stop],
    ] {
        let mut supervisor = after(events);
        supervisor.handle(Event::Stop, 0.0);
        supervisor.handle(Event::TimerOver, 0.0);
        supervisor.handle(ended(KILLED), 0.0);
        assert!(
            matches!(supervisor.state(), State::Finished(_)),
            "{events:?}: {:?}",
            supervisor.state()
        );
    }
}

#[test]
fn a_runtime_that_keeps_crashing_is_given_up_with_its_own_code_unless_it_was_well_or_its_files_changed()
 {
    let limited = || Supervisor::new(Policy::new(Restart::OnFailure, GRACE, NonZeroU32::new(3)));
    let crash = |supervisor: &mut Supervisor, uptime: u64, again: Event| {
        supervisor.handle(Event::Start, 0.0);
        supervisor.handle(again, 0.0);
        let uptime = Duration::from_secs(uptime);
        let cause = Cause::Runtime;
        let exit = FAILED;
        supervisor.handle(
            Event::Ended {
                exit,
                uptime,
                cause,
            },
            0.0,
        )
    };
    let mut supervisor = limited();
    for expected in [
        State::Waiting(FAILED),
        State::Waiting(FAILED),
        State::Finished(FAILED),
    ] {
        let effects = crash(&mut supervisor, 1, Event::TimerOver);
        assert_eq!(supervisor.state(), expected);
        let finished = effects.contains(&Effect::Finish(FAILED));
        assert_eq!(finished, expected == State::Finished(FAILED));
    }
    let mut supervisor = limited();
    for _ in 0..10 {
        crash(&mut supervisor, 300, Event::TimerOver);
        crash(&mut supervisor, 1, Event::TimerOver);
        assert_eq!(supervisor.state(), State::Waiting(FAILED), "it was well");
    }
    let mut supervisor = limited();
    for _ in 0..10 {
        crash(&mut supervisor, 1, Event::FilesChanged);
        assert_eq!(
            supervisor.state(),
            State::Waiting(FAILED),
            "its files changed"
        );
    }
}
