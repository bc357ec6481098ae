//! One type per permission, to be named in a handler's parameters: `Allowed<can::SpendWrite>`.

use kiki_types::Permission;

use super::Can;

macro_rules! can {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("[`Permission::", stringify!($name), "`]")]
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl Can for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )*

        #[cfg(test)]
        const LISTED: &[Permission] = &[$(Permission::$name,)*];
    };
}

can! {
    SpendRead
    SpendWrite
    BudgetsRead
    BudgetsWrite
    StopsWrite
    ApprovalsWrite
    PolicyRead
    PolicyWrite
    ConsentRead
    ConsentWrite
    SubjectRequestsWrite
    SubjectRequestsRead
    SubjectRequestsDecide
    PersonalRead
    PersonalWrite
    LegalHoldsWrite
    BreachesWrite
    RetentionWrite
    ComplianceRead
    AuditWrite
    AuditRead
    LogRead
    WebhooksRead
    WebhooksWrite
    ValueRead
    ValueWrite
    CampaignsRead
    CampaignsWrite
    MessagesSend
    SandboxRead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_its_type() {
        assert_eq!(LISTED, Permission::ALL);
    }
}
