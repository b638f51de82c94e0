//! coaming as what containers get that name no runtime, by the packaged files of that name.

use coaming_integration::{By, Engine, Error, Runtime, Suite, can_run};

use crate::setup::{BOUNDING, engines, has_sys_admin, nothing_is_left, once, record, stays};

#[test]
fn a_container_that_names_no_runtime_goes_through_coaming() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in engines() {
        // The packaged default is what most machines of that engine have: Docker's is runc, Podman's crun.
        let runtime = match config.brand {
            coaming_integration::Brand::Docker => Runtime::Runc(config.suite),
            coaming_integration::Brand::Podman => Runtime::Crun(config.suite),
        };
        if config.suite == Suite::Sid && config.runtime != runtime {
            continue;
        }
        let config = coaming_integration::EngineConfig { runtime, ..config }.by_default();
        eprintln!("{config}");
        let engine = Engine::start(config, "node")?;
        let granted = once(&engine, By::Stock, &["--cap-add", "SYS_ADMIN"], BOUNDING)?;
        assert!(has_sys_admin(&granted), "{granted:?}");
        stays(&engine, By::Default, "plain", &[])?;
        let record = record(engine.world(), "/run/coaming")?;
        assert_eq!(record["wrapper"], runtime.wrapper_name());
        engine.remove("plain")?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}
