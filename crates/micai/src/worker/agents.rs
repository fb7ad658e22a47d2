//! Agents ready to take turns, compiled once a version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::agent::CompiledAgent;
use crate::domain::agent::AgentId;
use crate::store::{Store, StoreError};

/// Agents kept at once; when there are more, all make room and are compiled again as they are needed.
const AGENTS_MAX: usize = 1_000;

type Compiled = Arc<OnceCell<Arc<CompiledAgent>>>;

pub(super) struct AgentCache {
    store: Store,
    cells: Mutex<HashMap<AgentId, (i64, Compiled)>>,
}

impl AgentCache {
    pub fn new(store: Store) -> Self {
        Self { store, cells: Mutex::default() }
    }

    /// The agent in at least this version. Turns that ask at the same time wait for one compilation.
    pub async fn get(&self, id: &AgentId, version: i64) -> Result<Arc<CompiledAgent>, StoreError> {
        let cell = self.cell(id, version);
        cell.get_or_try_init(|| self.compile(id)).await.cloned()
    }

    fn cell(&self, id: &AgentId, version: i64) -> Compiled {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cached_version, cell)) = cells.get(id)
            && *cached_version >= version
        {
            return cell.clone();
        }
        if cells.len() >= AGENTS_MAX {
            cells.clear();
        }
        let cell = Compiled::default();
        cells.insert(id.clone(), (version, cell.clone()));
        cell
    }

    async fn compile(&self, id: &AgentId) -> Result<Arc<CompiledAgent>, StoreError> {
        let Some(loaded) = self.store.agent_with_rules(id).await? else {
            return Err(StoreError::Unavailable(format!("agent {id} was deleted a moment ago")));
        };
        // A hundred thousand keywords take most of a second: not on a thread that serves others.
        let compiled = tokio::task::spawn_blocking(move || {
            let agent = loaded.agent;
            CompiledAgent::new(agent.id, agent.version, agent.settings, &loaded.rules)
        })
        .await
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        compiled.map(Arc::new).map_err(|error| StoreError::Unreadable(format!("a rule of agent {id}: {error}")))
    }
}
