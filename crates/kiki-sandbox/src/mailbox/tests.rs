use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiki_types::UnixMillis;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn id(number: u128) -> MessageId {
    Uuid::from_u128(number).into()
}

fn eml(number: u128, customer_id: &str) -> Vec<u8> {
    let mail = Mail {
        id: id(number),
        at: UnixMillis(1_770_287_400_000),
        from: "hello@shop.example",
        customer_id,
        subject: "We miss you",
        body: "Come back.",
    };
    mail.to_rfc5322().unwrap()
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn opened(faults: &str, messages_max: usize) -> (TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::open(&folder.path().join("mailbox"), faults.parse().unwrap(), messages_max).unwrap();
    (folder, mailbox)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_delivered_message_is_a_file_of_its_owner_alone() {
    let (folder, mailbox) = opened("", MESSAGES_MAX);
    let message = eml(7, "00042");
    mailbox.deliver(id(7), &acme(), message.clone()).await.unwrap();
    let tenant = folder.path().join("mailbox/acme");
    let file = tenant.join(format!("{}.eml", id(7)));
    assert_eq!(std::fs::read(&file).unwrap(), message);
    assert_eq!((mode(&file), mode(&tenant)), (0o600, 0o700));
    assert_eq!(std::fs::read_dir(&tenant).unwrap().count(), 1);
    assert_eq!(mailbox.read(&acme(), id(7)).await.unwrap(), Some(message));
}

#[tokio::test]
async fn a_retry_of_a_message_stores_it_once_also_after_a_restart() {
    let (folder, mailbox) = opened("", 1);
    mailbox.deliver(id(1), &acme(), eml(1, "first")).await.unwrap();
    mailbox.deliver(id(1), &acme(), eml(1, "second")).await.unwrap();
    let again = Mailbox::open(&folder.path().join("mailbox"), Faults::default(), 1).unwrap();
    again.deliver(id(1), &acme(), eml(1, "third")).await.unwrap();
    let page = again.list(&acme(), None, 10).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(page.messages[0].to, "first@customers.invalid");
}

#[tokio::test]
async fn a_full_mailbox_takes_nothing_more() {
    let (_folder, mailbox) = opened("", 2);
    for number in 1..=2 {
        mailbox.deliver(id(number), &acme(), eml(number, "a")).await.unwrap();
    }
    let refused = mailbox.deliver(id(3), &acme(), eml(3, "a")).await;
    assert!(matches!(refused, Err(DeliveryError::Unavailable(_))), "{refused:?}");
    assert_eq!(mailbox.read(&acme(), id(3)).await.unwrap(), None);
    mailbox.deliver(id(3), &"globex".parse().unwrap(), eml(3, "a")).await.unwrap();
}

#[tokio::test]
async fn a_failed_delivery_keeps_nothing_and_may_be_tried_again() {
    let (_folder, mailbox) = opened("every=2,reject=bad@*", MESSAGES_MAX);
    mailbox.deliver(id(1), &acme(), eml(1, "a")).await.unwrap();
    let second = mailbox.deliver(id(2), &acme(), eml(2, "a")).await;
    assert!(matches!(second, Err(DeliveryError::Unavailable(_))), "{second:?}");
    assert_eq!(mailbox.read(&acme(), id(2)).await.unwrap(), None);
    mailbox.deliver(id(2), &acme(), eml(2, "a")).await.unwrap();
    let bad = mailbox.deliver(id(3), &acme(), eml(3, "bad")).await;
    assert!(matches!(bad, Err(DeliveryError::Rejected(_))), "{bad:?}");
}

#[tokio::test]
async fn what_is_no_message_is_rejected() {
    let (_folder, mailbox) = opened("", MESSAGES_MAX);
    let no_recipient = b"From: a@b.example\r\nDate: Thu, 5 Feb 2026 10:30:00 +0000\r\n\r\nHello".to_vec();
    for bad in [Vec::new(), b"hello".to_vec(), no_recipient, vec![b'x'; MESSAGE_BYTES_MAX + 1]] {
        let refused = mailbox.deliver(id(1), &acme(), bad).await;
        assert!(matches!(refused, Err(DeliveryError::Rejected(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn pages_show_every_message_once_and_only_the_tenants_own() {
    let (_folder, mailbox) = opened("", MESSAGES_MAX);
    for number in 1..=5 {
        mailbox.deliver(id(number), &acme(), eml(number, "a")).await.unwrap();
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
