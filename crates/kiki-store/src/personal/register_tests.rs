use super::*;

const SOURCE: Uuid = Uuid::from_u128(1);

fn of(subject: u128, epoch: u32) -> Erasure {
    Erasure {
        seq: 0,
        tenant: TenantId::default_tenant(),
        subject: Uuid::from_u128(subject).into(),
        epoch,
        at: UnixMillis(5),
        cause: Cause::Request,
    }
}

fn numbers(lines: &[Erasure]) -> Vec<i64> {
    lines.iter().map(|line| line.seq).collect()
}

#[test]
fn lines_are_numbered_on_whoever_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let [mut one, mut other] = [(); 2].map(|()| Register::new(folder.path(), SOURCE));
    assert_eq!(numbers(&one.append(vec![of(1, 1), of(2, 1)]).unwrap()), [1, 2]);
    assert_eq!(numbers(&other.append(vec![of(3, 1)]).unwrap()), [3]);
    assert_eq!(numbers(&one.append(vec![Erasure { seq: 9, ..of(4, 2) }, of(5, 2)]).unwrap()), [9, 10]);
    let lines = Register::new(folder.path(), SOURCE).lines().unwrap();
    assert_eq!(numbers(&lines), [1, 2, 3, 9, 10]);
    assert_eq!(lines[3], Erasure { seq: 9, ..of(4, 2) });
}

#[test]
fn an_unfinished_last_line_is_cut_and_any_other_change_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(REGISTER_FILE);
    let mut register = Register::new(folder.path(), SOURCE);
    register.append(vec![of(1, 1), of(2, 1)]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for bytes in 0..whole.len() {
        std::fs::write(&path, &whole[..bytes]).unwrap();
        let count = Register::new(folder.path(), SOURCE).lines().unwrap().len();
        let expected = whole[..bytes].iter().filter(|&&byte| byte == b'\n').count().saturating_sub(1);
        assert_eq!(count, expected, "cut at {bytes}");
    }
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        std::fs::write(&path, &damaged).unwrap();
        let read = Register::new(folder.path(), SOURCE).lines();
        let is_last = place == whole.len() - 1;
        assert_eq!(read.is_ok(), is_last, "flipped at {place}: {read:?}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(Register::new(folder.path(), Uuid::from_u128(2)).lines().is_err(), "another database's");
}

#[test]
fn what_tells_of_destroyed_epochs_goes_and_no_number_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let [mut one, mut other] = [(); 2].map(|()| Register::new(folder.path(), SOURCE));
    one.append(vec![of(1, 1), of(2, 2), of(3, 1)]).unwrap();
    other.lines().unwrap();
    assert_eq!(one.compact(2).unwrap(), 1);
    assert_eq!(one.compact(3).unwrap(), 1);
    assert_eq!(numbers(&other.append(vec![of(4, 3)]).unwrap()), [4]);
    assert_eq!(numbers(&one.lines().unwrap()), [3, 4]);
}
