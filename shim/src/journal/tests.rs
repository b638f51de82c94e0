//! The journal as it is written, torn and tampered with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::event::{Because, Changed, Container, Decision, Proof, Proved, Refused, Stage, Wider};
use super::read::{files, lines, parse, totals};
use super::{Event, Journal, JournalError, MAX_LINE, chain};

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn created(id: &str) -> Event {
    let changed = Changed { control: "seccomp".to_owned(), ..Changed::default() };
    Event::Created(Decision {
        container: Container::named(id),
        changes: vec![changed],
        decision_micros: 700,
        ..Decision::default()
    })
}

/// A journal of several small files.
fn journal(folder: &Path, count: u64) -> Journal {
    let journal = Journal::at(folder, 100).with_files_of(4096);
    for id in 0..count {
        journal.append(created(&id.to_string()), now()).unwrap();
    }
    journal
}

fn whole(folder: &Path) -> chain::Whole {
    chain::verify(folder).unwrap().unwrap_or_else(|broken| panic!("{broken}"))
}

#[test]
fn lines_follow_each_other_through_files_and_the_totals_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("journal");
    journal(&folder, 100);
    let whole = whole(&folder);
    assert!(whole.files > 3 && whole.lines == 100 + whole.files as u64, "{whole:?}");
    assert_eq!((whole.first, whole.last, whole.unfinished_bytes), (1, whole.lines, 0));
    let totals = totals(&folder).unwrap();
    assert_eq!(
        (totals.created, totals.changes["seccomp"], totals.decisions.count),
        (100, 100, 100)
    );
    assert_eq!(totals.since.as_deref(), Some("2023-11-14T22:13:20.000Z"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in files(&folder).unwrap() {
        assert_eq!(mode(&file.path), 0o600);
        assert!(fs::metadata(&file.path).unwrap().len() <= 4096);
    }
}

#[test]
fn the_oldest_files_go_and_what_they_counted_stays() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::at(folder.path(), 3).with_files_of(4096);
    for id in 0..200 {
        journal.append(created(&id.to_string()), now()).unwrap();
    }
    assert_eq!(totals(folder.path()).unwrap().created, 200);
    let whole = whole(folder.path());
    assert!(whole.files == 3 && whole.first > 1, "{whole:?}");
    // One that rotation did not take.
    let oldest = files(folder.path()).unwrap().remove(0);
    fs::remove_file(oldest.path).unwrap();
    let broken = chain::verify(folder.path()).unwrap().unwrap_err();
    assert!(broken.why.contains("files are missing"), "{broken}");
}

#[test]
fn whatever_is_done_to_a_line_is_found_where_it_was_done() {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), 60);
    whole(folder.path());
    let files = files(folder.path()).unwrap();
    let victim = &files[1];
    let good = fs::read_to_string(&victim.path).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let tampered = |text: &str| {
        fs::write(&victim.path, text).unwrap();
        let broken = chain::verify(folder.path()).unwrap().unwrap_err();
        fs::write(&victim.path, &good).unwrap();
        let name = broken.file.file_name().unwrap().to_owned();
        (name, broken.line, broken.why)
    };
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let name = victim.path.file_name().unwrap();

    // Changed: the line after no longer fits.
    let changed = good.replacen(r#""control":"seccomp""#, r#""control":"landlock""#, 1);
    let (file, line, why) = tampered(&changed);
    assert!(
        file == name && line == 3 && why.contains("written after another line"),
        "{line} {why}"
    );
    // Cut out, moved, doubled.
    let mut cut = lines.clone();
    cut.remove(3);
    let (file, line, why) = tampered(&joined(&cut));
    assert!(file == name && line == 4 && why.contains("missing or moved"), "{line} {why}");
    let mut moved = lines.clone();
    moved.swap(3, 4);
    assert_eq!(tampered(&joined(&moved)).1, 4);
    let mut doubled = lines.clone();
    doubled.insert(3, lines[3]);
    assert_eq!(tampered(&joined(&doubled)).1, 5);
    // The end of a file that is not the last: found in the next.
    let (file, line, _) = tampered(&joined(&lines[..lines.len() - 1]));
    assert!(file == files[2].path.file_name().unwrap() && line == 1);
    // A line that is none, and half a line.
    let mut noise = lines.clone();
    noise[2] = "noise";
    assert_eq!(tampered(&joined(&noise)).1, 3);
    let (file, line, why) = tampered(good.trim_end());
    assert!(file == name && line == lines.len() && why.contains("is done"), "{line} {why}");
    // Totals that say less than there was, the rest made to fit: the chain breaks after the checkpoint.
    let lied = good.replacen(r#""created":"#, r#""created":1"#, 1);
    let (_, line, why) = tampered(&lied);
    assert!(line == 1 && why.contains("totals"), "{line} {why}");
    // A file that is gone.
    fs::rename(&victim.path, folder.path().join("away")).unwrap();
    let broken = chain::verify(folder.path()).unwrap().unwrap_err();
    assert!(broken.file == files[2].path && broken.line == 1, "{broken}");
    fs::rename(folder.path().join("away"), &victim.path).unwrap();
    whole(folder.path());
}

#[test]
fn a_torn_line_is_taken_off_and_a_line_says_so() {
    for torn in [&b"{\"seq\":9,\"at"[..], b"\0\0\0\0\0\0", b"\0\0\0\n\0\0", &[b'x'; 3 * MAX_LINE]] {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path(), 4);
        journal.append(created("a"), now()).unwrap();
        let file = files(folder.path()).unwrap().remove(0).path;
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend(torn);
        fs::write(&file, &bytes).unwrap();
        assert_eq!(totals(folder.path()).unwrap().created, 1, "readers leave it out");
        journal.append(created("b"), now()).unwrap();
        whole(folder.path());
        let totals = totals(folder.path()).unwrap();
        assert_eq!((totals.created, totals.repaired), (2, 1));
        let text = fs::read(&file).unwrap();
        let (all, rest) = lines(&text);
        assert!(rest.is_empty());
        let Event::Repaired(repaired) = parse(all[2]).unwrap().event else { panic!("{all:?}") };
        assert_eq!(repaired.torn_bytes, torn.len() as u64);
    }
}

#[test]
fn a_file_without_a_whole_line_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path(), 40);
    let last = files(folder.path()).unwrap().pop().unwrap();
    fs::write(&last.path, "").unwrap();
    journal.append(created("next"), now()).unwrap();
    whole(folder.path());
    assert_eq!(totals(folder.path()).unwrap().repaired, 1);
    // And where it was the only one.
    let folder = tempfile::tempdir().unwrap();
    let only = self::journal(folder.path(), 1);
    let file = files(folder.path()).unwrap().remove(0).path;
    fs::write(&file, [0; 100]).unwrap();
    only.append(created("next"), now()).unwrap();
    whole(folder.path());
    assert_eq!(totals(folder.path()).unwrap().repaired, 1);
}

#[test]
fn what_others_put_in_its_place_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "").unwrap();
    let refused = |place: &Path| {
        let error = Journal::at(place, 4).append(created("a"), now()).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "");
        error.to_string()
    };
    // The folder: a link, a file, or writable by others.
    let place = folder.path().join("journal");
    std::os::unix::fs::symlink(folder.path(), &place).unwrap();
    refused(&place);
    fs::remove_file(&place).unwrap();
    fs::write(&place, "").unwrap();
    assert!(refused(&place).contains("not a folder"));
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused(&place).contains("lets others write"));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    // The lock and the file: links, by either kind, and a pipe.
    for name in ["lock", "00000000000000000001.jsonl"] {
        let entry = place.join(name);
        std::os::unix::fs::symlink(&victim, &entry).unwrap();
        refused(&place);
        fs::remove_file(&entry).unwrap();
        fs::hard_link(&victim, &entry).unwrap();
        assert!(refused(&place).contains("another name"));
        fs::remove_file(&entry).unwrap();
        nix::unistd::mkfifo(&entry, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&place);
        fs::remove_file(&entry).unwrap();
    }
    Journal::at(&place, 4).append(created("a"), now()).unwrap();
    whole(&place);
}

#[test]
fn of_many_writers_none_waits_for_ever_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let write = |writer: usize| {
        let journal = Journal::at(folder.path(), 1000).with_files_of(8192);
        for id in 0..40 {
            journal.append(created(&format!("{writer}-{id}")), now()).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || write(writer));
        }
    });
    whole(folder.path());
    assert_eq!(totals(folder.path()).unwrap().created, 320);
    let lock = fs::File::open(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let held = Journal::at(folder.path(), 4).append(created("late"), now());
    assert!(matches!(held, Err(JournalError::Busy { .. })), "{held:?}");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/.]{0,20}", "\\PC{0,600}", "[\0-\u{1f}]{0,600}"]
}

fn any_event() -> impl Strategy<Value = Event> {
    let texts = proptest::collection::vec(any_text(), 4);
    let many = proptest::collection::vec(texts, 0..60);
    (any_text(), many, 0..3).prop_map(|(text, many, kind)| {
        let text = super::event::short(&text);
        let some = |index: usize| {
            many.iter().take(24).map(move |texts| super::event::short(&texts[index]))
        };
        let id = Some(text.clone());
        let container = Container {
            id: text.clone(),
            namespace: id.clone(),
            pod: id.clone(),
            container: id.clone(),
            image: id,
            container_type: None,
        };
        let changes = some(0)
            .zip(some(1))
            .zip(some(2))
            .map(|((control, field), policy)| Changed { control, field, policy })
            .collect();
        let decision = Decision {
            container: container.clone(),
            wrapper: text.clone(),
            runtime: text.clone(),
            door: text.clone(),
            policies: some(1).collect(),
            degraded: some(2).collect(),
            waived: some(3).collect(),
            changes,
            ..Decision::default()
        };
        match kind {
            0 => Event::Created(decision),
            1 => Event::Refused(Refused {
                decision,
                operation: text.clone(),
                reasons: some(0)
                    .zip(some(3))
                    .map(|(control, allowed)| Because { control, allowed, ..Because::default() })
                    .collect(),
                error: Some(text),
            }),
            _ => Event::Proved(Proved {
                container,
                stage: Stage::Started,
                outcome: Proof::Mismatch,
                pid: 7,
                mismatches: some(0)
                    .zip(some(1))
                    .map(|(what, found)| Wider { what, found, ..Wider::default() })
                    .collect(),
                by: Default::default(),
                why: Some(text),
                killed: true,
                cut: false,
            }),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_event_is_a_line_within_its_bounds(events in proptest::collection::vec(any_event(), 1..3)) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path(), 100);
        for event in &events {
            journal.append(event.clone(), now()).unwrap();
        }
        let whole = chain::verify(folder.path()).unwrap();
        prop_assert!(whole.is_ok(), "{:?}", whole);
        let file = files(folder.path()).unwrap().remove(0).read().unwrap();
        let (all, _) = lines(&file);
        prop_assert_eq!(all.len(), events.len() + 1);
        for (line, event) in all.iter().skip(1).zip(&events) {
            prop_assert!(line.len() <= MAX_LINE);
            let read = parse(line).unwrap().event;
            prop_assert!(read == *event || read == event.clone().without_lists());
        }
    }

    #[test]
    fn whatever_stands_in_a_file_reading_it_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (all, rest) = lines(&bytes);
        let length: usize = all.iter().map(|line| line.len() + 1).sum();
        prop_assert_eq!(length + rest.len(), bytes.len());
        super::read::count(&bytes);
    }
}
