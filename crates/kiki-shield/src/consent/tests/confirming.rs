//! A confirmation and what is taken back at the same time, in every order.

use super::*;
use crate::consent::model::About;

const CHANNELS: [Channel; 3] = [Channel::Any, Channel::Email, Channel::Sms];

/// Whether what is taken back by one channel is part of what is agreed to by another.
fn meets(one: Channel, other: Channel) -> bool {
    one == other || one == Channel::Any || other == Channel::Any
}

impl World {
    /// Asks `ann` for what is `wanted`; the token that is mailed to her.
    async fn ask(&self, wanted: Wanted) -> String {
        let asked = self.give(Wanted { double_opt_in: true, ..wanted }).await.unwrap();
        self.token(asked.record.id).await
    }

    /// As [`World::revoke`], of which the register hears nothing.
    async fn revoke_without_sql(&self, channel: Channel) {
        let who = self.shield.somebody(&"a".parse().unwrap(), "ann").await.unwrap();
        let (subject, purpose) = (Digest(who.pseudonym), Purpose::Marketing);
        let resource = About::Purpose(purpose, channel).resource(Uuid::from_u128(rand::random()));
        let draft = self.shield.draft(&caller("a"), "consent.revoke", "revoke", &resource);
        let draft = AuditEvent { customer: subject.to_string(), ..draft };
        let channel = Some(channel).filter(|channel| *channel != Channel::Any);
        let command = Command::Consent { subject, purpose, granted: false, channel, until: None, asked: None };
        self.shield.0.governor.decide(command, draft).await.unwrap();
    }

    async fn agrees_to_marketing(&self) -> bool {
        let stands = async |by| self.stands("ann", Purpose::Marketing, by).await;
        stands(Channel::Email).await || stands(Channel::Sms).await
    }
}

fn by(channel: Channel) -> Wanted {
    Wanted { channel, ..wanted("ann") }
}

fn is_refused(answer: &Result<Made, ShieldError>) -> bool {
    matches!(answer, Err(ShieldError::NotFound("confirmation")))
}

/// SQL may be away when consent is taken back: a token that was mailed before is void at once, not when SQL is back.
#[tokio::test]
async fn what_is_taken_back_is_not_confirmed_by_an_older_token_whatever_the_register_heard() {
    on_both(async |db| {
        let world = World::new(db).await;
        for asked in CHANNELS {
            for taken_back in CHANNELS {
                let token = world.ask(by(asked)).await;
                world.revoke_without_sql(taken_back).await;
                let answer = world.confirm("a", &token).await;
                assert_eq!(is_refused(&answer), meets(asked, taken_back), "{asked} {taken_back}: {answer:?}");
                assert_eq!(world.agrees_to_marketing().await, !meets(asked, taken_back));
                // Who is asked once more may agree.
                let token = world.ask(by(asked)).await;
                world.confirm("a", &token).await.unwrap();
                assert!(world.agrees_to_marketing().await);
                world.revoke(wanted("ann")).await;
            }
        }
    })
    .await;
}

/// The gate is between the two steps of a confirmation: it is noted, and the governor has not heard of it.
#[tokio::test]
async fn what_is_taken_back_in_the_middle_of_its_confirmation_stays_so() {
    on_both(async |db| {
        let world = World::new(db).await;
        let token = world.ask(by(Channel::Any)).await;
        let (who, made) = world.shield.take_confirmation(&caller("a"), &token, None, NO).await.unwrap();
        world.revoke(wanted("ann")).await;
        let decided = world.shield.decide_record(&caller("a"), &who, made.record, "confirm", true).await;
        assert!(matches!(decided, Err(ShieldError::NotFound("confirmation"))), "{decided:?}");
        assert!(!world.agrees_to_marketing().await);
        assert_eq!(world.acts("ann").await, [(Act::Grant, State::Void), (Act::Revoke, State::Standing)]);
    })
    .await;
}

#[tokio::test]
async fn after_both_were_answered_nothing_stands_whoever_came_first() {
    on_both(async |db| {
        let world = World::new(db).await;
        for round in 0..20 {
            let token = world.ask(by(Channel::Any)).await;
            let (confirmed, _) = tokio::join!(world.confirm("a", &token), world.revoke(wanted("ann")));
            assert!(confirmed.is_ok() || is_refused(&confirmed), "{confirmed:?}");
            assert!(!world.agrees_to_marketing().await, "round {round}");
        }
    })
    .await;
}

/// The follower brings to the register what it did not hear.
#[tokio::test]
async fn what_was_taken_back_waits_for_no_confirmation_once_the_register_heard_of_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        let early = world.give(Wanted { double_opt_in: true, ..wanted("ann") }).await.unwrap().record.id;
        world.revoke_without_sql(Channel::Email).await;
        let late = world.give(Wanted { double_opt_in: true, ..wanted("ann") }).await.unwrap().record.id;
        world.follow().await.catch_up().await.unwrap();
        let tenant: TenantId = "a".parse().unwrap();
        assert!(world.shield.confirmation(&tenant, early).await.unwrap().is_none(), "nobody is asked any more");
        let token = world.token(late).await;
        world.confirm("a", &token).await.unwrap();
    })
    .await;
}

/// A full queue, a broken-off request, the end of the process: whatever comes between, the customer's word is not lost.
#[tokio::test]
async fn a_confirmation_that_was_not_decided_is_sent_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        let busy = ShieldError::Undecided(OwnerError::Busy);
        for (error, is_followed) in [(Some(busy), false), (None, false), (None, true)] {
            let token = world.ask(by(Channel::Any)).await;
            let (_, made) = world.shield.take_confirmation(&caller("a"), &token, None, NO).await.unwrap();
            if let Some(error) = error {
                world.shield.leave_undecided(&"a".parse().unwrap(), &made.record, &error).await.unwrap();
            }
            if is_followed {
                assert_eq!(repo::void_noted(&db.store, world.clock.now().plus(1)).await.unwrap(), 1);
            }
            assert!(!world.agrees_to_marketing().await);
            world.confirm("a", &token).await.unwrap();
            assert!(world.agrees_to_marketing().await);
            assert!(is_refused(&world.confirm("a", &token).await), "it is used up");
            world.revoke(wanted("ann")).await;
        }
        let token = world.ask(by(Channel::Any)).await;
        world.shield.take_confirmation(&caller("a"), &token, None, NO).await.unwrap();
        world.revoke(wanted("ann")).await;
        assert_eq!(repo::void_noted(&db.store, world.clock.now().plus(1)).await.unwrap(), 1);
        assert!(is_refused(&world.confirm("a", &token).await), "it was taken back meanwhile");
    })
    .await;
}
