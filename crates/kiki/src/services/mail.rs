//! The sandbox mailbox as the mail provider of engage.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_growth::engage::{MailSender, OutgoingMail, SendError};
use kiki_sandbox::mailbox::{DeliveryError, Mail, Mailbox};

/// Sends into the sandbox.
pub(super) struct SandboxMail(pub(super) Mailbox);

impl MailSender for SandboxMail {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'static, Result<(), SendError>> {
        let mailbox = self.0.clone();
        async move {
            let message = Mail {
                id: mail.id,
                at: mail.at,
                from: &mail.from,
                customer_id: &mail.customer_id,
                subject: &mail.subject,
                body: &mail.body,
            };
            let eml = message.to_rfc5322().map_err(|_| SendError::Rejected)?;
            mailbox.deliver(mail.id, &mail.tenant, eml).await.map_err(|error| match error {
                DeliveryError::Rejected(_) => SendError::Rejected,
                DeliveryError::Unavailable(_) => SendError::Unavailable,
                DeliveryError::Io(error) => {
                    tracing::error!(%error, "the mailbox cannot be written");
                    SendError::Unavailable
                }
            })
        }
        .boxed()
    }
}
