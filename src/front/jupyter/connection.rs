//! Connection file, which states where a Jupyter kernel listens and the key that signs messages.

use std::path::Path;

use jupyter_protocol::ConnectionInfo;

use crate::error::{Error, Kind, Result};

/// Signature scheme of the messages' crate, and Jupyter's default.
const SCHEME: &str = "hmac-sha256";

/// Reads a connection file. The second value is a warning, if there is one.
pub fn read(file: &Path) -> Result<(ConnectionInfo, Option<String>)> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        crate::files::failed(file, &error)
            .hint("a Jupyter client writes this file when it starts a Jupyter kernel")
    })?;
    let info: ConnectionInfo = serde_json::from_str(&text).map_err(|error| {
        Error::new(Kind::File, format!("`{}` is not a connection file: {error}", file.display()))
            .hint("expected the JSON that a Jupyter client writes: transport, ip, five ports, key, signature_scheme")
    })?;
    if !info.key.is_empty() && info.signature_scheme != SCHEME {
        let found = &info.signature_scheme;
        return Err(Error::new(
            Kind::File,
            format!("expected the signature scheme {SCHEME}, found `{found}`"),
        )
        .hint("leave Session.signature_scheme of the client at its default"));
    }
    let exposed = narrowed(file);
    let unsigned = info.key.is_empty().then(|| {
        "the connection file has no key, so anyone who can reach the ports can run code here".to_string()
    });
    Ok((info, exposed.or(unsigned)))
}

/// Makes the file readable for its owner only, since other users could run code with its key; returns a warning
/// that says so, or why it failed.
///
/// Refusing such a file would shut out clients that write it with the system's default permissions.
#[cfg(unix)]
fn narrowed(file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    if mode & 0o077 == 0 {
        return None;
    }
    let shown = file.display();
    let warning = format!("other users could read the key in `{shown}` (mode {:03o})", mode & 0o777);
    Some(match std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)) {
        Ok(()) => format!("{warning}; it is 600 now"),
        Err(error) => format!("{warning}, and that could not be changed: {error}"),
    })
}

#[cfg(not(unix))]
fn narrowed(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"ip": "127.0.0.1", "transport": "tcp", "shell_port": 1, "iopub_port": 2, "stdin_port": 3,
        "control_port": 4, "hb_port": 5, "key": "secret", "signature_scheme": "hmac-sha256"}"#;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kernel.json");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, file)
    }

    #[test]
    fn what_is_missing_or_something_else_is_named() {
        let error = read(Path::new("/no/such/kernel.json")).unwrap_err();
        assert!(error.message().contains("/no/such/kernel.json"), "{error}");
        let (_folder, file) = written("{\"ip\": 5}", 0o600);
        assert!(read(&file).unwrap_err().message().contains("is not a connection file"));
        let (_folder, file) = written(&TEXT.replace("sha256", "md5"), 0o600);
        assert!(read(&file).unwrap_err().message().contains("hmac-md5"));
    }

    #[test]
    fn a_key_that_others_can_read_is_taken_from_them() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, file) = written(TEXT, 0o644);
        let (info, warning) = read(&file).unwrap();
        assert_eq!((info.shell_port, info.key.as_str()), (1, "secret"));
        assert!(warning.unwrap().contains("mode 644"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, warning) = read(&file).unwrap();
        assert_eq!(warning, None);
    }

    #[test]
    fn a_file_without_a_key_is_warned_of() {
        let (_folder, file) = written(&TEXT.replace("secret", ""), 0o600);
        assert!(read(&file).unwrap().1.unwrap().contains("no key"));
    }
}
