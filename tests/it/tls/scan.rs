//! sslyze, which tries every version and every cipher suite there is.

use serde_json::Value;

use super::{Pki, archive, bridge, run};
use crate::support::peers::repository;

/// What is left of all cipher suites: forward secrecy and authenticated encryption (RFC 9325 4.2).
fn is_strong(suite: &str) -> bool {
    let of_1_3 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    of_1_3.contains(&suite)
        || (suite.starts_with("TLS_ECDHE_") && (suite.contains("_GCM_") || suite.contains("_CHACHA20_")))
}

fn accepted(result: &Value, version: &str) -> Vec<String> {
    let suites =
        &result["scan_result"][format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"];
    let suites = suites.as_array().unwrap_or_else(|| panic!("{version} was not tried: {result}"));
    suites.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_sslyze_finds_nothing_below_tls_1_2_and_no_weak_suite_on_either_port() {
    let (pki, archive) = (Pki::new(), archive().await);
    let app = bridge(&pki, &archive, "none", "").await;
    let sslyze = repository(".peers/sslyze/bin/sslyze");
    assert!(sslyze.exists(), "{} is missing: run `make peers`", sslyze.display());
    let report = pki.path("report.json");
    let tries = "--sslv2 --sslv3 --tlsv1 --tlsv1_1 --tlsv1_2 --tlsv1_3 --heartbleed --openssl_ccs --reneg --robot --compression";
    let ports = [app.http, app.dimse_tls.unwrap()].map(|address| format!("localhost:{}", address.port()));
    let arguments = tries.split(' ').map(str::to_owned).chain([format!("--json_out={report}")]).chain(ports);
    let (_, said) = run(sslyze, arguments.collect()).await;
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["server_scan_results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{said}");
    for result in results {
        for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
            assert_eq!(accepted(result, version), Vec::<String>::new(), "{version}");
        }
        for version in ["tls_1_2", "tls_1_3"] {
            let suites = accepted(result, version);
            assert!(
                !suites.is_empty() && suites.iter().all(|suite| is_strong(suite)),
                "{version}: {suites:?}"
            );
        }
        let found = |command: &str| &result["scan_result"][command]["result"];
        assert_eq!(found("heartbleed")["is_vulnerable_to_heartbleed"], false);
        assert_eq!(found("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false);
        assert_eq!(found("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"], false);
        assert_eq!(found("tls_compression")["supports_compression"], false);
        assert!(found("robot")["robot_result"].as_str().unwrap().starts_with("NOT_VULNERABLE"), "{said}");
    }
}
