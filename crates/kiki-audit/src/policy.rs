//! Whom to trust (C2SP tlog-policy): the keys of logs and of witnesses, and which witnesses together are enough.
//!
//! One text serves those who verify and those who collect cosignatures:
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> <k|any|all> <member>…
//! quorum <name|none>
//! ```
//!
//! Names serve inside the text only. What a line names stands above it.

use crate::checkpoint::Checkpoint;
use crate::note::{Kind, Note, NoteError, VerifierKey};

/// Bytes of the longest policy that is read.
pub const POLICY_BYTES_MAX: usize = 256 << 10;
/// Logs, witnesses and groups that a policy may have together.
const LINES_MAX: usize = 1024;

/// A key that is trusted, and where its owner can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The key.
    pub key: VerifierKey,
    /// For a witness, the prefix of its submissions.
    pub url: Option<String>,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<Known>,
    witnesses: Vec<Known>,
    groups: Vec<Group>,
    /// `None` if no cosignature is needed.
    quorum: Option<Member>,
}

#[derive(Clone, Debug)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// A line of a policy that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct PolicyError {
    /// Counted from 1; the number of lines and one more for what is missing.
    pub line: usize,
    /// What is wrong.
    pub wrong: String,
}

/// Why a checkpoint is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It is no note with the text of a checkpoint.
    #[error("is not a checkpoint")]
    Form,
    /// It is of a log that the policy does not name.
    #[error("is of the log {0}, which the policy does not name")]
    Origin(String),
    /// The log did not sign it, or a signature by a known key does not match.
    #[error("the checkpoint {0}")]
    Note(#[from] NoteError),
    /// The witnesses that cosigned it are not enough.
    #[error("too few of the policy's witnesses cosigned the checkpoint: {cosigned} did")]
    Quorum {
        /// How many did.
        cosigned: usize,
    },
}

/// A checkpoint that is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The names of the witnesses that cosigned it, and when: Unix seconds.
    pub cosigned_by: Vec<(String, u64)>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first line that is not as it must be.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut parser = Parser::default();
        let lines = text.split('\n').take(LINES_MAX * 16);
        for (line, content) in (1..).zip(lines) {
            let wrong = |wrong: String| PolicyError { line, wrong };
            if text.len() > POLICY_BYTES_MAX {
                return Err(wrong(format!("the policy is longer than {POLICY_BYTES_MAX} bytes")));
            }
            if content.contains(|c: char| c.is_ascii_control() && c != '\t') {
                return Err(wrong("a control character".to_owned()));
            }
            parser.line(content).map_err(wrong)?;
        }
        parser
            .finish()
            .ok_or_else(|| PolicyError { line: text.lines().count() + 1, wrong: "there is no quorum line".to_owned() })
    }

    /// The policy that trusts the log of this key alone and asks for no witness.
    #[must_use]
    pub fn of_log(key: &VerifierKey) -> Self {
        Self::of_keys(std::slice::from_ref(key))
    }

    /// The policy that trusts the logs of these keys, such as all that one log has had, and asks for no witness.
    #[must_use]
    pub fn of_keys(keys: &[VerifierKey]) -> Self {
        let logs = keys.iter().map(|key| Known { key: key.clone(), url: None }).collect();
        Self { logs, witnesses: Vec::new(), groups: Vec::new(), quorum: None }
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[Known] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Known] {
        &self.witnesses
    }

    /// Whether it wants any cosignature at all.
    #[must_use]
    pub const fn wants_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these witnesses are enough.
    #[must_use]
    pub fn accepts(&self, cosigners: &[&VerifierKey]) -> bool {
        let Some(quorum) = self.quorum else { return true };
        let signed: Vec<bool> = self.witnesses.iter().map(|witness| cosigners.contains(&&witness.key)).collect();
        // A group names what stands above it alone.
        let mut reached = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let members = group.members.iter().filter(|member| is_reached(**member, &signed, &reached)).count();
            reached.push(members >= group.threshold);
        }
        is_reached(quorum, &signed, &reached)
    }

    /// Those of the cosignature `lines` that are by witnesses of this policy, as lines to append to the checkpoint `note`.
    ///
    /// # Errors
    /// A line is none, there is none by a witness of this policy, or one of them does not match the checkpoint.
    pub fn cosignatures(&self, note: &str, lines: &str) -> Result<Vec<String>, NoteError> {
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|known| known.key.clone()).collect();
        let text = Note::parse(note)?.text;
        let signed = Note::of(text, lines)?.signed_by(&keys)?;
        Ok(signed.into_iter().map(|signed| format!("{}\n", signed.line)).collect())
    }

    /// Checks a checkpoint with its signatures: by the log that it names, and by enough witnesses.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn check(&self, note: &str) -> Result<Trusted, Untrusted> {
        let note = Note::parse(note).map_err(|_| Untrusted::Form)?;
        let checkpoint = Checkpoint::parse(note.text).ok_or(Untrusted::Form)?;
        let keys = |known: &[Known]| known.iter().map(|known| known.key.clone()).collect::<Vec<_>>();
        let logs: Vec<_> = keys(&self.logs).into_iter().filter(|key| key.name() == checkpoint.origin).collect();
        if logs.is_empty() {
            return Err(Untrusted::Origin(checkpoint.origin));
        }
        note.signed_by(&logs)?;
        let witnesses = keys(&self.witnesses);
        let cosigned = match note.signed_by(&witnesses) {
            Err(NoteError::Unsigned) => Vec::new(),
            signed => signed?,
        };
        let mut cosigners: Vec<&VerifierKey> = Vec::new();
        let mut cosigned_by = Vec::new();
        for signed in cosigned {
            if !cosigners.contains(&signed.key) {
                cosigners.push(signed.key);
                cosigned_by.push((signed.key.name().to_owned(), signed.time_s.unwrap_or_default()));
            }
        }
        if self.accepts(&cosigners) {
            Ok(Trusted { checkpoint, cosigned_by })
        } else {
            Err(Untrusted::Quorum { cosigned: cosigners.len() })
        }
    }
}

fn is_reached(member: Member, signed: &[bool], reached: &[bool]) -> bool {
    match member {
        Member::Witness(at) => signed.get(at).copied().unwrap_or(false),
        Member::Group(at) => reached.get(at).copied().unwrap_or(false),
    }
}

/// What was read so far.
#[derive(Default)]
struct Parser {
    logs: Vec<Known>,
    witnesses: Vec<Known>,
    groups: Vec<Group>,
    names: Vec<(String, Member)>,
    /// Those that a group has: each may count in one way only.
    grouped: Vec<Member>,
    quorum: Option<Option<Member>>,
}

impl Parser {
    fn line(&mut self, content: &str) -> Result<(), String> {
        let words: Vec<&str> = content.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        if self.logs.len() + self.names.len() > LINES_MAX {
            return Err(format!("more than {LINES_MAX} logs, witnesses and groups"));
        }
        match words.as_slice() {
            [] => Ok(()),
            [word, ..] if word.starts_with('#') => Ok(()),
            ["log", key, url @ ..] if url.len() <= 1 => {
                let log = known(key, url.first(), Kind::Note)?;
                push_new(&mut self.logs, log)
            }
            ["witness", name, key, url @ ..] if url.len() <= 1 => {
                let witness = known(key, url.first(), Kind::Cosignature)?;
                self.define(name, Member::Witness(self.witnesses.len()))?;
                push_new(&mut self.witnesses, witness)
            }
            ["group", name, threshold, members @ ..] if !members.is_empty() => self.group(name, threshold, members),
            ["quorum", name] => self.set_quorum(name),
            [word, ..] => Err(format!("`{word}` begins no line that a policy can have, or lacks what must follow")),
        }
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), String> {
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            number => number.parse().map_err(|_| format!("`{number}` is not a number, `any` or `all`"))?,
        };
        if !(1..=members.len()).contains(&threshold) {
            return Err(format!("{threshold} of {} members cannot be asked for", members.len()));
        }
        let members = members.iter().map(|member| self.join(member)).collect::<Result<_, _>>()?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn join(&mut self, name: &str) -> Result<Member, String> {
        let member = self.named(name)?;
        if self.grouped.contains(&member) {
            return Err(format!("`{name}` is in a group already"));
        }
        self.grouped.push(member);
        Ok(member)
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a quorum line already".to_owned());
        }
        self.quorum = Some(if name == "none" { None } else { Some(self.named(name)?) });
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Member, String> {
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, member)| *member).ok_or_else(|| format!("no witness or group `{name}` stands above"))
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == "none" || self.named(name).is_ok() {
            return Err(format!("the name `{name}` is taken"));
        }
        self.names.push((name.to_owned(), member));
        Ok(())
    }

    fn finish(self) -> Option<Policy> {
        let Self { logs, witnesses, groups, quorum, .. } = self;
        Some(Policy { logs, witnesses, groups, quorum: quorum? })
    }
}

fn known(key: &str, url: Option<&&str>, kind: Kind) -> Result<Known, String> {
    let parsed: VerifierKey = key.parse().map_err(|error| format!("`{key}` {error}"))?;
    if parsed.kind() != kind {
        let wanted = if kind == Kind::Note { "a log signs with, type 1" } else { "a witness signs with, type 4" };
        return Err(format!("`{key}` is not of the type that {wanted}"));
    }
    Ok(Known { key: parsed, url: url.map(|url| (*url).to_owned()) })
}

fn push_new(list: &mut Vec<Known>, new: Known) -> Result<(), String> {
    if list.iter().any(|known| known.key.is_same_key(&new.key)) {
        return Err(format!("the key of `{}` is there already", new.key));
    }
    list.push(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SignerKey;

    fn signer(name: &str, kind: Kind) -> SignerKey {
        let mut seed = [0; 32];
        seed[..name.len()].copy_from_slice(name.as_bytes());
        SignerKey::new(name, kind, &seed).unwrap()
    }

    fn vkey(name: &str, kind: Kind) -> String {
        signer(name, kind).verifier().to_string()
    }

    /// The example of the specification, with keys.
    fn example() -> String {
        let witness = |name: &str| format!("witness {name} {}\n", vkey(name, Kind::Cosignature));
        let lines = |names: &[&str]| names.iter().map(|name| witness(name)).collect::<String>();
        format!(
            "# an example\nlog {} https://log.example/\n\n{}group X-witnesses 2 X1 X2 X3\n\n{}\
             group Y-witnesses any Y1 Y2 Y3\n \t# both\ngroup X-and-Y\tall  X-witnesses Y-witnesses \nquorum X-and-Y\n",
            vkey("log.example", Kind::Note),
            lines(&["X1", "X2", "X3"]),
            lines(&["Y1", "Y2", "Y3"]),
        )
    }

    #[test]
    fn a_quorum_of_groups_counts_as_it_says() {
        let policy = Policy::parse(&example()).unwrap();
        let accepts = |names: &[&str]| {
            let signers: Vec<_> = names.iter().map(|name| signer(name, Kind::Cosignature)).collect();
            policy.accepts(&signers.iter().map(SignerKey::verifier).collect::<Vec<_>>())
        };
        assert!(accepts(&["X1", "X3", "Y2"]));
        assert!(accepts(&["X1", "X2", "X3", "Y1", "Y2", "Y3", "Z1"]));
        for few in [&["X1", "X2"][..], &["Y1", "Y2", "Y3", "X1"], &["X1", "X1", "Y1"], &[]] {
            assert!(!accepts(few), "{few:?}");
        }
        assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
        assert_eq!(policy.witnesses().len(), 6);
        assert!(Policy::parse("quorum none").unwrap().accepts(&[]));
    }

    #[test]
    fn a_line_that_cannot_be_kept_is_named() {
        let example = example();
        let (log, witness) = (vkey("l", Kind::Note), vkey("w", Kind::Cosignature));
        for (lines, at) in [
            (format!("log {witness}\nquorum none\n"), 1),
            (format!("witness w {log}\nquorum none\n"), 1),
            (format!("log {log}\nlog {log}\nquorum none\n"), 2),
            (format!("witness a {witness}\nwitness b {witness}\nquorum a\n"), 2),
            (format!("witness none {witness}\nquorum none\n"), 1),
            (format!("witness w {witness}\ngroup w any w\nquorum w\n"), 2),
            (format!("witness w {witness}\ngroup g 2 w\nquorum g\n"), 2),
            (format!("witness w {witness}\ngroup g 0 w\nquorum g\n"), 2),
            (format!("witness w {witness}\ngroup g any\nquorum g\n"), 2),
            (format!("witness w {witness}\ngroup g all w w\nquorum g\n"), 2),
            (format!("witness w {witness}\ngroup g all w none\nquorum g\n"), 2),
            (format!("witness w {witness}\ngroup g all w\ngroup h all w g\nquorum g\n"), 3),
            (format!("quorum w\nwitness w {witness}\n"), 1),
            ("quorum none\nquorum none\n".to_owned(), 2),
            ("quorum none\r\n".to_owned(), 1),
            ("log x\nquorum none\n".to_owned(), 1),
            ("witnes w\n".to_owned(), 1),
            (example.replace("quorum X-and-Y\n", ""), example.lines().count()),
        ] {
            assert_eq!(Policy::parse(&lines).map_err(|error| error.line).err(), Some(at), "{lines}");
        }
    }

    #[test]
    fn a_checkpoint_is_trusted_by_its_log_and_enough_witnesses() {
        let [log, other] = ["log.example", "other.example"].map(|name| signer(name, Kind::Note));
        let [first, second] = ["w1", "w2"].map(|name| signer(name, Kind::Cosignature));
        let policy = format!(
            "log {}\nwitness a {}\nwitness b {}\ngroup both all a b\nquorum both\n",
            log.verifier(),
            first.verifier(),
            second.verifier()
        );
        let policy = Policy::parse(&policy).unwrap();
        let text =
            |log: &SignerKey| Checkpoint { origin: log.verifier().name().to_owned(), size: 3, root: [5; 32] }.text();
        let note = log.sign(&text(&log));
        let (one, two) = (first.cosign_line(&text(&log), 11), second.cosign_line(&text(&log), 12));
        let trusted = policy.check(&format!("{note}{one}{two}")).unwrap();
        assert_eq!(trusted.checkpoint.size, 3);
        assert_eq!(trusted.cosigned_by, [("w1".to_owned(), 11), ("w2".to_owned(), 12)]);
        assert_eq!(policy.check(&format!("{note}{one}{one}")), Err(Untrusted::Quorum { cosigned: 1 }));
        let forged = second.cosign_line("another\n", 12);
        assert_eq!(policy.check(&format!("{note}{one}{forged}")), Err(Untrusted::Note(NoteError::Forged)));
        let unsigned = format!("{}\n{one}{two}", text(&log));
        assert_eq!(policy.check(&unsigned), Err(Untrusted::Note(NoteError::Unsigned)));
        assert!(matches!(policy.check(&other.sign(&text(&other))), Err(Untrusted::Origin(_))));
        assert_eq!(policy.check(&log.sign("log.example\n03\n")), Err(Untrusted::Form));
        assert!(Policy::of_log(log.verifier()).check(&note).is_ok());

        let stranger = signer("w3", Kind::Cosignature).cosign_line(&text(&log), 12);
        assert_eq!(policy.cosignatures(&note, &format!("{stranger}{one}")), Ok(vec![one]));
        assert_eq!(policy.cosignatures(&note, &stranger), Err(NoteError::Unsigned));
        assert_eq!(policy.cosignatures(&note, &forged), Err(NoteError::Forged));
        assert_eq!(policy.cosignatures(&note, "no line"), Err(NoteError::Form));
    }
}
