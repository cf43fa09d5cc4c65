use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::event::Recorder;
use crate::net::tls::{Lapsed, Standing};

const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)));

/// Access by a token, a password and a certificate.
struct Scene {
    folder: tempfile::TempDir,
    token: String,
    access: Access,
    recorder: Recorder,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (token, entry) = fresh_token("viewer").unwrap();
        let (tokens, basic) = (folder.path().join("tokens.toml"), folder.path().join("users.toml"));
        std::fs::write(&tokens, entry).unwrap();
        std::fs::write(&basic, password_entry("anna", "secret").unwrap()).unwrap();
        let certificates = [("CN=viewer,O=x".to_owned(), vec!["search".parse().unwrap()])].into();
        let config = Config { tokens: Some(tokens), basic: Some(basic), certificates, ..Config::default() };
        let (events, recorder) = Events::recorded();
        Self { folder, token, access: Access::new(config).unwrap().telling(events), recorder }
    }

    async fn ask(&self, authorization: &str) -> Result<Identity, Refused> {
        let value = HeaderValue::from_str(authorization).unwrap();
        self.access.authenticate(Some(&value), None, HERE).await
    }
}

fn certificate(subject: &str) -> PeerCertificate {
    PeerCertificate {
        standing: Standing::default(),
        subject: subject.to_owned(),
        common_name: None,
        names: Vec::new(),
        fingerprint: [7; 32],
        not_after: Duration::from_secs(u64::MAX),
    }
}

#[tokio::test]
async fn somebody_is_known_by_a_token_a_password_or_a_certificate() {
    let scene = Scene::new();
    let token = scene.ask(&format!("bearer {}", scene.token)).await.unwrap();
    assert_eq!((&*token.name, token.means), ("viewer", Means::Token));
    let basic = scene.ask(&format!("Basic {}", STANDARD.encode("anna:secret"))).await.unwrap();
    assert_eq!((&*basic.name, basic.means), ("anna", Means::Basic));
    let own = certificate("CN=viewer,O=x");
    let known = scene.access.authenticate(None, Some(&own), HERE).await.unwrap();
    assert_eq!((&*known.name, known.means), ("CN=viewer,O=x", Means::Certificate));
}

#[tokio::test]
async fn nobody_else_is() {
    let scene = Scene::new();
    assert_eq!(scene.access.authenticate(None, None, HERE).await.unwrap_err(), Refused::Missing);
    let other = certificate("CN=viewer,O=y");
    assert_eq!(scene.access.authenticate(None, Some(&other), HERE).await.unwrap_err(), Refused::Missing);
    for bad in ["", "Bearer", "Bearer ", "Bearer x", "Digest x", "Basic x", "Basic", "Negotiate abc", "é"] {
        assert!(matches!(scene.ask(bad).await, Err(Refused::Invalid(_))), "{bad}");
    }
    let long = format!("Bearer {}", "x".repeat(MAX_CREDENTIALS));
    assert!(matches!(scene.ask(&long).await, Err(Refused::Invalid(_))));
    // Bad credentials are not made good by a certificate beside them.
    let value = HeaderValue::from_static("Bearer x");
    let own = certificate("CN=viewer,O=x");
    assert!(scene.access.authenticate(Some(&value), Some(&own), HERE).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_known_by_its_fingerprint_too() {
    let known = |name: String| [(name, vec!["search".parse().unwrap()])].into();
    let by = async |name: String| {
        let access = Access::new(Config { certificates: known(name), ..Config::default() }).unwrap();
        access.authenticate(None, Some(&certificate("")), HERE).await.is_ok()
    };
    assert!(by(format!("sha256:{}", "07".repeat(32))).await);
    assert!(by(format!("sha256:{}", ["07"; 32].join(":"))).await);
    assert!(!by(format!("sha256:{}", "08".repeat(32))).await);
}

#[tokio::test]
async fn attack_a_certificate_that_expires_while_its_connection_is_open_is_nobodys() {
    let scene = Scene::new();
    let mut own = certificate("CN=viewer,O=x");
    assert!(scene.access.authenticate(None, Some(&own), HERE).await.is_ok());
    own.not_after = Duration::from_secs(1_600_000_000);
    let expired = Some(Refused::Lapsed(Lapsed::Expired));
    assert_eq!(scene.access.authenticate(None, Some(&own), HERE).await.err(), expired);
    let token = HeaderValue::from_str(&format!("Bearer {}", scene.token)).unwrap();
    let refused = scene.access.authenticate(Some(&token), Some(&own), HERE).await.err();
    assert_eq!(refused, expired, "who brings something else, too, would get no connection any more");
    assert_eq!(Access::open().authenticate(None, Some(&own), HERE).await.err(), expired, "nor would anybody");
}

#[tokio::test]
async fn what_comes_of_it_is_told_once_for_good_ones_and_each_time_for_bad_ones() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.ask(&format!("Bearer {}", scene.token)).await.unwrap();
    }
    let told = scene.recorder.take();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].outcome, &told[0].what), (Outcome::Success, &What::Authentication));
    assert_eq!((told[0].who.user.as_deref(), told[0].who.address), (Some("viewer"), HERE));
    for _ in 0..2 {
        let _ = scene.ask("Bearer gantry_wrong").await;
    }
    let told = scene.recorder.take();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|event| event.outcome == Outcome::MinorFailure));
    assert!(!format!("{told:?}").contains("gantry_wrong"), "no secret is told");
    let _ = scene.access.authenticate(None, None, HERE).await;
    assert!(scene.recorder.take().is_empty(), "nobody has tried anything");
}

#[tokio::test]
async fn attack_who_guesses_passwords_is_told_of_and_stopped() {
    let scene = Scene::new();
    let mut stopped = 0;
    for n in 0..40 {
        match scene.ask(&format!("Basic {}", STANDARD.encode(format!("anna:{n}")))).await {
            Err(Refused::TooMany(_)) => stopped += 1,
            Err(Refused::Invalid(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stopped, 10);
    let alerts = |event: &&Event| matches!(event.what, What::SecurityAlert { .. });
    let told = scene.recorder.take();
    assert_eq!(told.iter().filter(alerts).count(), 1);
    assert_eq!(told.len(), 11, "ten of them are told, and that they are many");
    assert!(told.iter().all(|event| event.who.user.as_deref() == Some("anna")), "who was tried: {told:?}");
    let elsewhere = HeaderValue::try_from(format!("Basic {}", STANDARD.encode("anna:secret"))).unwrap();
    assert!(scene.access.authenticate(Some(&elsewhere), None, None).await.is_ok(), "others are not held up");
}

#[tokio::test]
async fn attack_bad_credentials_without_end_do_not_fill_the_audit_trail() {
    let scene = Scene::new();
    for n in 0..1_000 {
        let _ = scene.ask(&format!("Bearer gantry_{n}")).await;
    }
    let told = scene.recorder.take();
    assert_eq!(told.len(), 9 + 3 + 1, "nine, and at 10, 100 and 1000, and one alert");
    assert!(told.last().unwrap().why.as_deref().unwrap().contains("1000 times"), "{told:?}");
}

#[tokio::test]
async fn bad_tokens_hold_up_no_password_from_the_same_address() {
    let scene = Scene::new();
    for n in 0..100 {
        let _ = scene.ask(&format!("Bearer gantry_{n}")).await;
    }
    assert!(scene.ask(&format!("Basic {}", STANDARD.encode("anna:secret"))).await.is_ok());
}

#[tokio::test]
async fn attack_passwords_that_come_at_once_are_not_all_looked_at() {
    let scene = std::sync::Arc::new(Scene::new());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..60 {
        let scene = Arc::clone(&scene);
        tasks.spawn(
            async move { scene.ask(&format!("Basic {}", STANDARD.encode(format!("anna:{n}")))).await },
        );
    }
    let looked_at = tasks.join_all().await;
    let looked_at = looked_at.iter().filter(|found| matches!(found, Err(Refused::Invalid(_)))).count();
    assert!(looked_at <= 30, "{looked_at}");
}

#[tokio::test]
async fn right_passwords_that_come_at_once_are_all_let_in() {
    let scene = std::sync::Arc::new(Scene::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let scene = Arc::clone(&scene);
        tasks.spawn(async move { scene.ask(&format!("Basic {}", STANDARD.encode("anna:secret"))).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_certificate_that_is_nobodys_is_told_of_once() {
    let scene = Scene::new();
    let other = certificate("CN=viewer,O=y");
    for _ in 0..5 {
        assert_eq!(scene.access.authenticate(None, Some(&other), HERE).await.unwrap_err(), Refused::Missing);
    }
    let told = scene.recorder.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].who.certificate.as_deref(), Some("CN=viewer,O=y"));
    assert_eq!(told[0].outcome, Outcome::MinorFailure);
}

#[test]
fn attack_who_asks_for_what_they_may_not_do_over_and_over_does_not_fill_the_audit_trail() {
    let access = Access::open();
    let told = |name: &str| {
        let somebody = Identity { name: name.into(), ..Identity::everybody() };
        (0..1_000).filter_map(|_| access.tell_of_overreach(&somebody, "asked")).collect::<Vec<_>>()
    };
    assert_eq!(told("anna").len(), 12);
    assert_eq!(told("ben")[11], "asked, 1000 times within a minute", "each for themselves");
}

#[tokio::test]
async fn attack_who_is_taken_out_of_a_file_is_out_though_they_were_remembered() {
    for file in ["tokens.toml", "users.toml"] {
        let scene = Scene::new();
        let token = format!("Bearer {}", scene.token);
        let password = format!("Basic {}", STANDARD.encode("anna:secret"));
        let (own, others) = if file == "tokens.toml" { (&token, &password) } else { (&password, &token) };
        for credentials in [own, others] {
            assert!(scene.ask(credentials).await.is_ok());
        }
        std::fs::write(scene.folder.path().join(file), "").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while scene.ask(own).await.is_ok() {
            assert!(std::time::Instant::now() < deadline, "{file}: still in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(scene.ask(others).await.is_ok(), "{file}: others go on");
    }
}

#[test]
fn a_refusal_says_how_to_come_in() {
    let challenges = |refused: &Refused, bearer, basic| -> Vec<String> {
        refused.challenges(bearer, basic).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(challenges(&Refused::Missing, true, false), ["Bearer realm=\"gantry\""]);
    let both = challenges(&Refused::Invalid("it has expired"), true, true);
    assert!(both[0].contains("error=\"invalid_token\"") && both[0].contains("it has expired"), "{both:?}");
    assert!(both[1].starts_with("Basic realm="));
    assert_eq!(challenges(&Refused::Missing, false, false).len(), 1, "RFC 9110 wants one");
    assert!(challenges(&Refused::Unavailable("x"), true, true).is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_at_the_start_with_its_key() {
    let config = Config { tokens: Some("/nowhere/tokens.toml".into()), ..Config::default() };
    let error = Access::new(config).unwrap_err().to_string();
    assert!(error.contains("auth.tokens.file") && error.contains("/nowhere/tokens.toml"), "{error}");
}
