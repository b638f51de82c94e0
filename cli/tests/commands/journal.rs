//! `coaming journal`, by its files.

use coaming_shim::journal::event::Decision;
use coaming_shim::journal::{Event, Journal};
use std::time::SystemTime;

use crate::coaming;

#[test]
fn the_chain_is_walked_and_what_breaks_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("journal");
    let verify = || {
        let said = coaming(&["journal", "--verify", "--folder", &place.display().to_string()]);
        (said.code, said.out)
    };
    let (code, said) = verify();
    assert!(code == Some(0) && said.contains("nothing was written yet"), "{said}");
    for _ in 0..2 {
        let event = Event::Created(Decision { door: "create".to_owned(), ..Decision::default() });
        Journal::at(&place, 4).append(event, SystemTime::now()).unwrap();
    }
    let (code, said) = verify();
    assert!(code == Some(0) && said.contains("whole: 1 file, lines 1 to 3"), "{said}");
    let file = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"door\":\"create\"", "\"door\":\"exec\"", 1)).unwrap();
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains(":3: "), "{said}");
}
