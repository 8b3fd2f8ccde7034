//! `input(..)` in a cell, answered by the client that runs it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jupyter_protocol::{InputRequest, JupyterMessage};
use tokio::sync::mpsc::UnboundedSender;

use super::message::Request;
use super::publish::Publisher;
use crate::context::Interrupt;
use crate::error::{Error, Result};

/// Asks the client of the running cell; clones share it.
#[derive(Clone)]
pub struct Asker {
    client: Arc<Mutex<Option<Request>>>,
    questions: UnboundedSender<JupyterMessage>,
    answers: Arc<Mutex<Receiver<String>>>,
    publisher: Publisher,
    interrupt: Interrupt,
}

impl Asker {
    /// Creates an asker that sends `questions` to the stdin socket and receives `answers` from there.
    pub fn new(
        questions: UnboundedSender<JupyterMessage>,
        answers: Receiver<String>,
        publisher: Publisher,
        interrupt: Interrupt,
    ) -> Self {
        let answers = Arc::new(Mutex::new(answers));
        Self { client: Arc::default(), questions, answers, publisher, interrupt }
    }

    /// Sets the client that can be asked from now on.
    pub fn allow(&self, client: Option<Request>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Asks the client, and waits for the answer or Ctrl-C.
    pub fn ask(&self, prompt: &str, password: bool) -> Result<String> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let client = client.ok_or_else(|| {
            Error::argument("this client takes no input, so the cell cannot ask")
                .hint("set the value in a variable of the notebook")
        })?;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Drop answers to earlier, interrupted questions.
        while answers.try_recv().is_ok() {}
        self.publisher.flush();
        let question = client.reply(InputRequest { prompt: prompt.to_string(), password });
        let gone = || Error::internal("the kernel is ending");
        self.questions.send(question).map_err(|_| gone())?;
        loop {
            self.interrupt.check()?;
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }
}
