use uuid::Uuid;

use super::*;
use MessageState as S;

fn message(state: MessageState, reason: &str) -> Message {
    Message {
        id: Uuid::from_u128(1).into(),
        to: Recipient { handle: Uuid::from_u128(2).into(), customer_id: "00042".to_owned(), pseudonym: [3; 16] },
        state,
        attempt: 1,
        authorization: (state != S::Pending).then(|| "a-1".to_owned()),
        reasons: if reason.is_empty() { Vec::new() } else { vec![reason.to_owned()] },
        value: "42.17".to_owned(),
        probability_alive: "0.31".to_owned(),
        updated_at: UnixMillis(0),
    }
}

fn after(state: MessageState, step: Step) -> Option<(MessageState, i64)> {
    let mut message = message(state, "");
    message.step(step).ok().map(|()| (message.state, message.attempt))
}

#[test]
fn every_state_reads_back_from_its_name() {
    for state in S::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    assert_eq!("lost".parse::<MessageState>(), Err(UnknownState));
}

/// From a state to a state, and the attempt that it is then.
type Leads = &'static [(MessageState, MessageState, i64)];

/// Each step with the states that allow it and where it leads; everything else is refused.
#[test]
fn a_message_takes_the_allowed_steps_and_no_other() {
    let held = || Step::Held("a-2".to_owned());
    let denied = || Step::Denied(vec!["consent".to_owned()]);
    let table: [(Step, Leads); 8] = [
        (held(), &[(S::Pending, S::Authorized, 1), (S::Sent, S::Sent, 1)]),
        (denied(), &[(S::Pending, S::Refused, 1), (S::Sent, S::Sent, 1)]),
        (Step::Undecided, &[(S::Pending, S::BlockedUnavailable, 1)]),
        (Step::Failed(UNAVAILABLE), &[(S::Pending, S::Failed, 1), (S::Authorized, S::Failed, 1)]),
        (Step::Sent, &[(S::Authorized, S::Sent, 1)]),
        (Step::Captured, &[(S::Pending, S::Captured, 1), (S::Authorized, S::Captured, 1), (S::Sent, S::Captured, 1)]),
        (Step::Lapsed, &[(S::Pending, S::Pending, 2), (S::Authorized, S::Pending, 2), (S::Sent, S::Sent, 2)]),
        (
            Step::TakenUp,
            &[
                (S::Pending, S::Pending, 1),
                (S::Authorized, S::Authorized, 1),
                (S::Sent, S::Sent, 1),
                (S::BlockedUnavailable, S::Pending, 1),
                (S::Refused, S::Pending, 2),
                (S::Failed, S::Pending, 2),
            ],
        ),
    ];
    for (step, allowed) in table {
        for state in S::ALL {
            let expected = allowed.iter().find(|(from, ..)| *from == state).map(|(_, to, attempt)| (*to, *attempt));
            assert_eq!(after(state, step.clone()), expected, "{state:?} {step:?}");
        }
    }
}

#[test]
fn what_was_paid_for_or_rejected_is_never_taken_up() {
    for (state, reason, is_final) in [
        (S::Captured, "", true),
        (S::Failed, REJECTED, true),
        (S::Failed, SHIELD_REJECTED, true),
        (S::Failed, UNAVAILABLE, false),
        (S::Refused, "consent", false),
        (S::Sent, "", false),
    ] {
        let mut message = message(state, reason);
        assert_eq!(message.is_final(), is_final, "{state:?} {reason}");
        assert_eq!(message.step(Step::TakenUp).is_err(), is_final);
    }
}

#[test]
fn a_new_attempt_forgets_the_old_authorization_and_keeps_the_messages_id() {
    let mut refused = message(S::Refused, "consent");
    let id = refused.id;
    refused.step(Step::TakenUp).unwrap();
    assert_eq!((refused.authorization, refused.reasons, refused.id), (None, Vec::new(), id));
}
