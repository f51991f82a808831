//! A request as bytes, before anything has checked it.

use std::fmt;

use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// A request before anything has checked it.
#[derive(Clone, Default)]
pub(crate) struct Raw {
    pub(crate) method: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
}

/// What comes after the bytes of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    End,
    /// Nothing ever.
    Silence,
    /// A broken connection.
    Broken,
    /// The same bytes again and again.
    Endless,
}

impl Raw {
    /// The head as the http crate takes it. `None`: no HTTP library would hand this on.
    pub(crate) fn head(&self) -> Option<Request<()>> {
        let mut uri = self.path.clone();
        if !self.query.is_empty() {
            uri.push(b'?');
            uri.extend_from_slice(&self.query);
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(&self.method).ok()?;
        *request.uri_mut() = Uri::try_from(uri).ok()?;
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.headers_mut().append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string().chars().take(2000).collect::<String>();
        writeln!(formatter, "{} {}?{}", text(&self.method), text(&self.path), text(&self.query))?;
        for (name, value) in &self.headers {
            writeln!(formatter, "{}: {}", text(name), text(value))?;
        }
        write!(formatter, "{} ({} bytes, then {:?})", text(&self.body), self.body.len(), self.ending)
    }
}
