//! Whether somebody speaks TLS at all, whoever it is.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::{VERSIONS, provider};

/// Content types of TLS records: alert and handshake (RFC 8446 5.1).
const RECORDS: [u8; 2] = [0x15, 0x16];

/// Begins a handshake and looks at the first byte of what comes back, until `deadline`; then hangs up. Nothing is trusted
/// and nothing is sent but the beginning.
pub async fn is_spoken<S>(mut io: S, host: &str, deadline: Instant) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(hello) = client_hello(host) else { return false };
    let answered = timeout_at(deadline, async {
        io.write_all(&hello).await?;
        io.flush().await?;
        io.read_u8().await
    });
    matches!(answered.await, Ok(Ok(first)) if RECORDS.contains(&first))
}

/// The first flight of a client.
fn client_hello(host: &str) -> Option<Vec<u8>> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).ok()?;
    Some(hello)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_answers_a_handshake_speaks_tls_and_who_sends_something_else_does_not() {
        for (answer, speaks) in
            [(&[0x16, 3, 3][..], true), (&[0x15, 3, 3], true), (&[0x03, 0, 0], false), (&[], false)]
        {
            let (near, mut far) = tokio::io::duplex(4096);
            let server = tokio::spawn(async move {
                let mut hello = [0; 3];
                far.read_exact(&mut hello).await.unwrap();
                far.write_all(answer).await.unwrap();
                hello
            });
            let deadline = Instant::now() + Duration::from_secs(5);
            assert_eq!(is_spoken(near, "pacs.example", deadline).await, speaks, "{answer:?}");
            assert_eq!(server.await.unwrap()[0], 0x16);
        }
    }
}
