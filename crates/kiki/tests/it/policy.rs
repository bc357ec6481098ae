//! `kiki policy test`, as whoever writes rules meets it; [`in_force`] is what follows from rules.

mod in_force;

use std::fs;
use std::path::Path;

use crate::harness::{folder, here, run, succeed};

const RULES: &str = "@id(\"all\") permit(principal, action, resource);\n";

fn case(verdict: &str) -> String {
    let request = "{ actor = \"agent\", action = \"read\" }";
    format!("[[case]]\nname = \"a read\"\nrequest = {request}\nexpect = {{ verdict = \"{verdict}\" }}\n")
}

/// The exit code, what was printed, what was complained about.
fn test(folder: &Path, policy: &str) -> (Option<i32>, String, String) {
    let output = run(folder, &["policy", "test", policy]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_examples_of_policies_pass_as_the_documentation_says() {
    let examples = here("../../examples/policy");
    let shown = succeed(folder().path(), &["policy", "test", examples.to_str().unwrap()]);
    assert!(shown.contains("3 rule sets") && shown.contains("cases passed"), "{shown}");
}

#[test]
fn a_policy_that_fails_its_cases_says_why_and_exits_with_1() {
    let folder = folder();
    fs::write(folder.path().join("money.cedar"), RULES).unwrap();
    let (code, shown, _) = test(folder.path(), ".");
    assert!(code == Some(0) && shown.contains("there are no cases"), "{shown}");
    fs::write(folder.path().join("money.tests.toml"), case("deny") + &case("allow")).unwrap();
    let (code, shown, _) = test(folder.path(), ".");
    assert_eq!(code, Some(1), "{shown}");
    for part in
        ["FAILED money.tests.toml: a read", "expected deny, got allow", "money allow by all", "1 of 2 cases failed"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (code, shown, _) = test(folder.path(), "money.cedar");
    assert_eq!(code, Some(1), "one file has the cases beside it: {shown}");
}

#[test]
fn a_policy_that_cannot_be_read_exits_with_2_and_names_the_place() {
    let folder = folder();
    let (code, _, told) = test(folder.path(), "none");
    assert!(code == Some(2) && told.contains("none"), "{told}");
    fs::write(folder.path().join("money.cedar"), RULES.replace("permit", "pemit")).unwrap();
    let (code, _, told) = test(folder.path(), ".");
    assert!(code == Some(2) && told.contains("money.cedar:1:"), "{told}");
    fs::write(folder.path().join("money.cedar"), RULES).unwrap();
    fs::write(folder.path().join("money.tests.toml"), case("perhaps")).unwrap();
    let (code, _, told) = test(folder.path(), ".");
    assert!(code == Some(2) && told.contains("money.tests.toml") && told.contains("perhaps"), "{told}");
}
