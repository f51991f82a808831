//! Reading a paged list, or one without pages, into one replacement.
//!
//! In: pages of bytes. Out: one replacement when the last page is complete, nothing before. Pages of different
//! versions are never mixed.

use super::pages::Pages;
use super::{Ended, Run};
use crate::delta_fifo::Relisted;
use crate::frame::{FrameError, ListEnd};
use crate::list_watch::{ListRequest, read_list};
use crate::object::Cached;
use crate::recovery::{Phase, Trouble};
use crate::version::ResourceVersion;

impl<K: Cached> Run<K> {
    /// Reads all pages of `limit` items, consistently.
    pub(super) async fn paged_list(&mut self, limit: Option<u32>) -> Ended {
        let ask_known = self.begin_list().await;
        let (mut items, mut request) = (Vec::new(), ListRequest { limit, ..ListRequest::default() });
        let mut version: Option<ResourceVersion> = None;
        let mut pages = Pages::default();
        loop {
            let end = match self.page(&request, ask_known, &mut items).await {
                Ok(end) => end,
                Err(trouble) => {
                    let continued = request.continue_token.is_some();
                    return Ended::Trouble(trouble, Phase::List { continued });
                }
            };
            let moved = version.as_ref().is_some_and(|first| *first != end.version);
            let turned = end.continue_token.as_deref().map_or(Ok(()), |token| pages.turn(token));
            let moved = if moved { Err(FrameError::NotAList("pages of one version")) } else { turned };
            if let Err(error) = moved {
                return Ended::Trouble(error.into(), Phase::List { continued: true });
            }
            version.get_or_insert(end.version);
            match end.continue_token {
                Some(token) => request.continue_token = Some(token),
                None => break,
            }
        }
        self.replace(items, version.expect("the loop ends with a page read, and every page has a version"));
        Ended::Listed
    }

    async fn page(
        &mut self,
        request: &ListRequest,
        ask_known: bool,
        items: &mut Vec<Relisted<K>>,
    ) -> Result<ListEnd, Trouble> {
        self.given.shared.status.lock().counts.lists += 1;
        let body = self.given.list_watch.list(request).await.map_err(Trouble::Failed)?;
        let limits = self.given.config.limits;
        let read = read_list(body, limits, |item| items.extend(self.relisted(item, ask_known)));
        let end = read.await.map_err(Trouble::Failed);
        self.arrived();
        end
    }
}
