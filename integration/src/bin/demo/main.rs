//! `make demo`: a container that asks for too much, what it got, and five attacks that fail inside it. Every line is
//! held against what it should say; the exit code is 1 when one does not.

mod attacks;
mod explain;
mod page;
mod setting;
mod steps;

use std::process::ExitCode;

use coaming_integration::{Error, leftovers};

use crate::page::Page;
use crate::setting::Setting;

fn main() -> ExitCode {
    let mut page = Page::new();
    match show(&mut page).and_then(|()| page.end()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(page: &mut Page) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Unavailable(
            "the demo makes namespaces and mounts: run it as root".to_owned(),
        ));
    }
    let before = leftovers::footprint()?;
    steps::node(page)?;
    let setting = Setting::make()?;
    let node = setting.start()?;
    steps::node_started(page, &node)?;
    steps::policy(page, &setting)?;
    {
        let cri = node.cri()?;
        steps::refused(page, &cri)?;
        let pods = steps::pods(page, &cri, setting.attacks())?;
        steps::explained(page, &node, &pods)?;
        steps::attacked(page, &cri, &pods, setting.attacks())?;
        steps::executed(page, &cri, &pods)?;
        steps::removed(page, &node, &cri, pods)?;
    }
    drop(node);
    steps::nothing_left(page, &before)
}
