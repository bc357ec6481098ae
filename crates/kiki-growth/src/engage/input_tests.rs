use uuid::Uuid;

use super::*;

#[test]
fn a_campaign_without_an_account_gets_its_own_readable_one() {
    let id: CampaignId = Uuid::from_u128(0x0190_d3b0_0000_7000_8000_0000_00ab_cdef).into();
    for (name, account) in [
        ("Win-back, spring 2026!", "growth/win-back-spring-2026-000000abcdef"),
        ("Rückgewinnung", "growth/r-ckgewinnung-000000abcdef"),
        ("!!!", "growth/campaign-000000abcdef"),
        ("-a-", "growth/a-000000abcdef"),
    ] {
        assert_eq!(own_account(name, id), account);
        assert!(check_account(account.to_owned()).is_ok());
    }
    let long = own_account(&"a b ".repeat(100), id);
    assert!(check_account(long.clone()).is_ok(), "{long}");
}
