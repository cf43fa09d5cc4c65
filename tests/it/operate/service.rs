//! The service manager is told, and its unit file wants to be.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::support::process::{Scratch, Server, free_port};

#[test]
fn the_unit_waits_for_what_the_bridge_tells() {
    let unit = include_str!("../../../deploy/gantry.service");
    assert!(unit.lines().any(|line| line == "Type=notify") && unit.contains("\nWatchdogSec="), "{unit}");
}

#[test]
fn the_service_manager_learns_that_it_is_ready_lives_reads_its_configuration_again_and_ends() {
    let scratch = Scratch::new("notify");
    let path = scratch.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let [http, dimse] = [free_port(), free_port()];
    let file = scratch.write(
        "gantry.toml",
        &format!(
            "[http]\nlisten = \"127.0.0.1:{http}\"\n[dimse]\nlisten = \"127.0.0.1:{dimse}\"\n\
             [archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:9\"\n"
        ),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.arg("serve").arg("--config").arg(&file);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let server = Server::start("gantry", scratch, command, &[http]);
    let heard = || {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(heard().starts_with("READY=1\n"));
    assert_eq!(heard(), "WATCHDOG=1\n");
    let signal = |name: &str| {
        let killed = Command::new("sh").args(["-c", &format!("kill -{name} {}", server.pid())]).status();
        assert!(killed.unwrap().success());
    };
    let said = || {
        let mut said = heard();
        while said == "WATCHDOG=1\n" {
            said = heard();
        }
        said
    };
    signal("HUP");
    let reloading = said();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(said(), "READY=1\nSTATUS=Serving\n");
    std::fs::write(&file, "[archive.main]\nae_titel = \"PACS\"\n").unwrap();
    signal("HUP");
    assert!(said().starts_with("RELOADING=1\n"));
    assert_eq!(said(), "READY=1\nSTATUS=Serving\n");
    assert!(said().starts_with("STATUS=Serving by the configuration before"));
    signal("TERM");
    let stopping = said();
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
}
