use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures::FutureExt as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const AT: UnixMillis = UnixMillis(1_770_287_400_000);

/// Turns every bit of a message over; what it does so to `gone` cannot be opened.
pub(super) struct Flipped {
    pub(super) gone: Option<Owner>,
}

pub(super) fn flip(eml: &[u8]) -> Vec<u8> {
    eml.iter().map(|byte| !byte).collect()
}

impl Open for Flipped {
    fn open<'a>(&'a self, _: &'a TenantId, messages: &'a [Sealed]) -> BoxFuture<'a, io::Result<Vec<Option<Vec<u8>>>>> {
        let open = |message: &Sealed| (Some(message.owner) != self.gone).then(|| flip(&message.sealed));
        std::future::ready(Ok(messages.iter().map(open).collect())).boxed()
    }
}

fn id(number: u128) -> MessageId {
    Uuid::from_u128(number).into()
}

pub(super) fn eml(id: MessageId, customer_id: &str) -> Vec<u8> {
    let mail = Mail { id, at: AT, from: "hello@shop.example", customer_id, subject: "We miss you", body: "Come back." };
    mail.to_rfc5322().unwrap()
}

pub(super) async fn delivered(
    mailbox: &Mailbox,
    tenant: &TenantId,
    id: MessageId,
    owner: u8,
    eml: &[u8],
) -> Result<(), DeliveryError> {
    let recipient = recipient(eml)?;
    let (owner, sealed) = ([owner; 16], flip(eml));
    mailbox.deliver(Delivery { id, tenant, at: AT, owner, recipient: &recipient, sealed }).await
}

async fn take(mailbox: &Mailbox, number: u128, customer_id: &str) -> Result<(), DeliveryError> {
    delivered(mailbox, &acme(), id(number), 1, &eml(id(number), customer_id)).await
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn again(folder: &TempDir, gone: Option<Owner>, faults: &str, messages_max: usize) -> Mailbox {
    let root = folder.path().join("mailbox");
    let mailbox = Mailbox::open(&root, Arc::new(Flipped { gone }), messages_max).unwrap();
    mailbox.with_faults(faults.parse().unwrap())
}

fn opened(faults: &str, messages_max: usize) -> (TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = again(&folder, None, faults, messages_max);
    (folder, mailbox)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_delivered_message_is_a_sealed_file_of_its_owner_alone() {
    let (folder, mailbox) = opened("", MESSAGES_MAX);
    take(&mailbox, 7, "00042").await.unwrap();
    let tenant = folder.path().join("mailbox/acme");
    let file = tenant.join(format!("{}.{}.sealed", id(7), "01".repeat(16)));
    assert_eq!(std::fs::read(&file).unwrap(), flip(&eml(id(7), "00042")));
    assert_eq!((mode(&file), mode(&tenant)), (0o600, 0o700));
    assert_eq!(std::fs::read_dir(&tenant).unwrap().count(), 1);
    assert_eq!(mailbox.read(&acme(), id(7)).await.unwrap(), Some(eml(id(7), "00042")));
}

#[tokio::test]
async fn a_retry_of_a_message_stores_it_once_also_after_a_restart() {
    let (folder, mailbox) = opened("", 1);
    take(&mailbox, 1, "first").await.unwrap();
    take(&mailbox, 1, "second").await.unwrap();
    let mailbox = again(&folder, None, "", 1);
    take(&mailbox, 1, "third").await.unwrap();
    let page = mailbox.list(&acme(), None, 10).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(page.messages[0].to, "first@customers.invalid");
}

#[tokio::test]
async fn a_full_mailbox_takes_nothing_more() {
    let (_folder, mailbox) = opened("", 2);
    for number in 1..=2 {
        take(&mailbox, number, "a").await.unwrap();
    }
    let refused = take(&mailbox, 3, "a").await;
    assert!(matches!(refused, Err(DeliveryError::Unavailable(_))), "{refused:?}");
    assert_eq!(mailbox.read(&acme(), id(3)).await.unwrap(), None);
    delivered(&mailbox, &"globex".parse().unwrap(), id(3), 1, &eml(id(3), "a")).await.unwrap();
}

#[tokio::test]
async fn a_failed_delivery_keeps_nothing_and_may_be_tried_again() {
    let (_folder, mailbox) = opened("every=2,reject=bad@*", MESSAGES_MAX);
    take(&mailbox, 1, "a").await.unwrap();
    let second = take(&mailbox, 2, "a").await;
    assert!(matches!(second, Err(DeliveryError::Unavailable(_))), "{second:?}");
    assert_eq!(mailbox.read(&acme(), id(2)).await.unwrap(), None);
    take(&mailbox, 2, "a").await.unwrap();
    let bad = take(&mailbox, 3, "bad").await;
    assert!(matches!(bad, Err(DeliveryError::Rejected(_))), "{bad:?}");
}

#[test]
fn what_is_no_message_is_rejected() {
    let no_recipient = b"From: a@b.example\r\nDate: Thu, 5 Feb 2026 10:30:00 +0000\r\n\r\nHello".to_vec();
    for bad in [Vec::new(), b"hello".to_vec(), no_recipient, vec![b'x'; MESSAGE_BYTES_MAX + 1]] {
        let refused = recipient(&bad);
        assert!(matches!(refused, Err(DeliveryError::Rejected(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn pages_show_every_message_once_and_only_the_tenants_own() {
    let (_folder, mailbox) = opened("", MESSAGES_MAX);
    for number in 1..=5 {
        take(&mailbox, number, "a").await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = mailbox.list(&acme(), after, 2).await.unwrap();
        seen.extend(page.messages.iter().map(|message| message.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=5).map(id).collect::<Vec<_>>());
    let globex = "globex".parse().unwrap();
    assert_eq!(mailbox.list(&globex, None, 10).await.unwrap(), Page { messages: Vec::new(), next: None });
    assert_eq!(mailbox.read(&globex, id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn what_went_to_a_person_who_is_forgotten_is_gone_and_nothing_else() {
    let (folder, mailbox) = opened("", MESSAGES_MAX);
    for (number, owner) in [(1, 1), (2, 2), (3, 1), (4, 3)] {
        delivered(&mailbox, &acme(), id(number), owner, &eml(id(number), "a")).await.unwrap();
    }
    let globex = "globex".parse().unwrap();
    delivered(&mailbox, &globex, id(1), 1, &eml(id(1), "a")).await.unwrap();
    let ids = async |mailbox: &Mailbox| -> Vec<MessageId> {
        mailbox.list(&acme(), None, 10).await.unwrap().messages.iter().map(|message| message.id).collect()
    };
    assert_eq!(mailbox.of(&acme(), [1; 16], 10).await.unwrap().len(), 2);
    assert_eq!(mailbox.owners(&acme(), None, 2).await.unwrap(), [[1; 16], [2; 16]]);
    assert_eq!(mailbox.owners(&acme(), Some([2; 16]), 2).await.unwrap(), [[3; 16]]);
    assert_eq!(mailbox.forget(&acme(), &[[1; 16], [9; 16]]).await.unwrap(), 2);
    assert_eq!(mailbox.forget(&acme(), &[[1; 16], [9; 16]]).await.unwrap(), 0);
    assert_eq!(ids(&mailbox).await, [id(2), id(4)]);
    assert_eq!(std::fs::read_dir(folder.path().join("mailbox/acme")).unwrap().count(), 2);
    assert_eq!(ids(&again(&folder, None, "", 9)).await, [id(2), id(4)]);
    assert!(mailbox.read(&globex, id(1)).await.unwrap().is_some(), "another tenant's");
}

#[tokio::test]
async fn a_message_whose_key_is_gone_is_as_good_as_not_there() {
    let (folder, mailbox) = opened("", MESSAGES_MAX);
    for (number, owner) in [(1, 1), (2, 2)] {
        delivered(&mailbox, &acme(), id(number), owner, &eml(id(number), "a")).await.unwrap();
    }
    let mailbox = again(&folder, Some([1; 16]), "", 9);
    assert_eq!(mailbox.read(&acme(), id(1)).await.unwrap(), None);
    let page = mailbox.list(&acme(), None, 10).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [id(2)]);
}

#[tokio::test]
async fn what_was_kept_long_enough_goes_and_a_dry_run_only_counts_it() {
    let (_folder, mailbox) = opened("", MESSAGES_MAX);
    for number in 1..=3 {
        take(&mailbox, number, "a").await.unwrap();
    }
    let expire = async |cutoff: UnixMillis, gone: &[u8], limit, dry| {
        let gone = gone.iter().map(|owner| [*owner; 16]).collect();
        mailbox.expire(&acme(), cutoff, gone, limit, dry).await.unwrap()
    };
    let old = Old { messages: 3, oldest: Some(AT) };
    assert_eq!(expire(AT, &[2], 10, false).await, Old::default());
    assert_eq!(expire(AT.plus(1), &[], 2, true).await, old);
    assert_eq!(expire(AT, &[1], 2, true).await, old, "who they went to is not known any more");
    assert_eq!(expire(AT.plus(1), &[1], 2, false).await.messages, 2);
    assert_eq!(expire(AT, &[1], 2, false).await.messages, 1);
    assert_eq!(mailbox.list(&acme(), None, 10).await.unwrap().messages, []);
}
