//! A DIMSE client that does what it is told, and a destination for objects.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gantry::demo::{Plain, Running};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, vr_of};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
use gantry::dicom::{Tag, Uid, sop_class, tags};
use gantry::dimse::association::{Association, AssociationError, EstablishError, Event, Request, Requested};
use gantry::dimse::command::{Command, field};
use gantry::dimse::negotiation::Proposal;
use gantry::net::DimseSocket;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Computed tomography images, and magnetic resonance ones.
pub(crate) const IMAGES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"];

/// Longer than anything takes that works.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// An association to an archive, or to the bridge.
pub(crate) struct Client {
    pub(crate) association: Association,
}

/// A context for a class, in which the requestor is SCU.
pub(crate) fn proposal(class: &str, syntaxes: &[&str]) -> Proposal {
    let uid = |text: &str| text.parse::<Uid>().unwrap();
    let transfer_syntaxes = syntaxes.iter().map(|syntax| uid(syntax)).collect();
    Proposal { abstract_syntax: uid(class), transfer_syntaxes, as_scp: false }
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) context: u8,
    pub(crate) command: Command,
    pub(crate) data: Option<Bytes>,
}

/// Everything that came in answer to a request.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Responses, the final one last.
    pub(crate) responses: Vec<Message>,
    /// Objects that came by C-STORE on the same association.
    pub(crate) objects: Vec<Message>,
}

impl Client {
    /// Associates with proposals for everything, storage in Explicit VR Little Endian.
    pub(crate) async fn new(archive: &Running) -> Self {
        Self::try_new(archive, EXPLICIT_VR_LE).await.unwrap()
    }

    /// Associates; objects are to come in `syntax`.
    pub(crate) async fn try_new(archive: &Running, syntax: &str) -> Result<Self, EstablishError> {
        let proposal = |class: &str, syntax: &str, as_scp| Proposal { as_scp, ..proposal(class, &[syntax]) };
        let services = [
            sop_class::VERIFICATION,
            sop_class::PATIENT_ROOT_FIND,
            sop_class::STUDY_ROOT_FIND,
            sop_class::STUDY_ROOT_GET,
            sop_class::STUDY_ROOT_MOVE,
        ];
        let mut proposals: Vec<Proposal> =
            services.iter().map(|class| proposal(class, EXPLICIT_VR_LE, false)).collect();
        proposals.extend(IMAGES.iter().map(|class| proposal(class, syntax, true)));
        Self::to(archive.addr(), archive.ae_title().as_str(), "CLIENT", proposals).await
    }

    /// Associates under these titles with these proposals.
    pub(crate) async fn to(
        address: SocketAddr,
        called: &str,
        calling: &str,
        proposals: Vec<Proposal>,
    ) -> Result<Self, EstablishError> {
        let (called, calling) = (called.parse().unwrap(), calling.parse().unwrap());
        let request = Request { called, calling, proposals, extended: vec![], roles: vec![] };
        Self::asking(address, &request).await
    }

    /// Associates by this request.
    pub(crate) async fn asking(address: SocketAddr, request: &Request) -> Result<Self, EstablishError> {
        let socket = DimseSocket::connect(&address.to_string(), soon()).await.unwrap();
        Ok(Self { association: Association::request(socket, request, soon()).await? })
    }

    /// Queues a request; its context.
    pub(crate) fn send(&mut self, mut command: Command, identifier: Option<&DataSet>) -> u8 {
        let class = command.sop_class.clone().unwrap();
        let context = self.association.agreement().for_class(class.as_str()).unwrap().id;
        let data = identifier.map(|i| i.encode(Layout::ExplicitLe, QueryCharset::Auto).into());
        command.has_data_set = data.is_some();
        self.association.send(context, &command, data);
        context
    }

    /// The next message, whole.
    pub(crate) async fn message(&mut self) -> Result<Message, AssociationError> {
        message(&mut self.association).await
    }

    /// Makes a request, takes objects in, and gathers what comes until the final response.
    pub(crate) async fn ask(
        &mut self,
        command: Command,
        identifier: Option<&DataSet>,
    ) -> Result<Answers, AssociationError> {
        self.send(command, identifier);
        self.answers().await
    }

    /// Takes objects in and gathers what comes until the final response.
    pub(crate) async fn answers(&mut self) -> Result<Answers, AssociationError> {
        let mut answers = Answers::default();
        loop {
            let message = self.message().await?;
            if message.command.field == field::C_STORE_RQ {
                self.association.send(message.context, &message.command.response(0), None);
                answers.objects.push(message);
                continue;
            }
            let pending = matches!(message.command.status, Some(0xFF00 | 0xFF01));
            answers.responses.push(message);
            if !pending {
                // A response to the last object is not left behind.
                self.association.flush().await?;
                return Ok(answers);
            }
        }
    }

    /// Releases the association.
    pub(crate) async fn release(self) {
        self.association.release(soon()).await;
    }
}

impl Message {
    /// The data set, which is in Explicit VR Little Endian.
    pub(crate) fn data_set(&self) -> DataSet {
        DataSet::parse(self.data.as_ref().unwrap(), Layout::ExplicitLe, None).unwrap().data_set
    }

    /// Remaining, completed, failed and warning sub-operations.
    pub(crate) fn counters(&self) -> [Option<u16>; 4] {
        [self.command.remaining, self.command.completed, self.command.failed, self.command.warning]
    }
}

impl Answers {
    /// The final response.
    pub(crate) fn last(&self) -> &Message {
        self.responses.last().unwrap()
    }

    /// The final status.
    pub(crate) fn status(&self) -> u16 {
        self.last().command.status.unwrap()
    }
}

pub(crate) async fn message(association: &mut Association) -> Result<Message, AssociationError> {
    let (context, command) = match association.event().await? {
        Event::Command { context, command } => (context, command),
        Event::ReleaseRequested => return Err(AssociationError::Lost("released".into())),
        Event::Data { .. } => panic!("the association keeps data behind commands"),
    };
    let mut data = command.has_data_set.then(BytesMut::new);
    if let Some(data) = &mut data {
        loop {
            let Event::Data { bytes, last } = association.event().await? else { panic!("no data set") };
            data.extend_from_slice(&bytes);
            if last {
                break;
            }
        }
    }
    Ok(Message { context, command, data: data.map(BytesMut::freeze) })
}

pub(crate) fn echo() -> Command {
    Command::request(field::C_ECHO_RQ, sop_class::VERIFICATION, 1)
}

pub(crate) fn find() -> Command {
    Command::request(field::C_FIND_RQ, sop_class::STUDY_ROOT_FIND, 2)
}

pub(crate) fn get() -> Command {
    Command::request(field::C_GET_RQ, sop_class::STUDY_ROOT_GET, 3)
}

pub(crate) fn move_to(destination: &str) -> Command {
    let mut command = Command::request(field::C_MOVE_RQ, sop_class::STUDY_ROOT_MOVE, 77);
    command.move_destination = destination.parse().ok();
    command
}

/// An identifier of a level with these keys.
pub(crate) fn identifier(level: &str, keys: &[(Tag, &str)]) -> DataSet {
    let mut identifier = DataSet::new();
    for (tag, value) in [(tags::QUERY_RETRIEVE_LEVEL, level)].iter().chain(keys) {
        identifier.set_str(*tag, vr_of(*tag), *value);
    }
    identifier
}

/// The identifier of the first study of `plain`.
pub(crate) fn first_study(plain: &Plain) -> DataSet {
    identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, plain.study_uid(0).as_str())])
}

/// A Storage SCP that answers every object with success and hands it out.
pub(crate) struct Destination {
    pub(crate) address: String,
    /// The objects, each with the title that its sender called itself.
    pub(crate) objects: mpsc::UnboundedReceiver<(String, Message)>,
}

impl Destination {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, objects) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, sender.clone()));
            }
        });
        Self { address, objects }
    }

    /// The next object, if one comes soon.
    pub(crate) async fn next(&mut self) -> Message {
        timeout(Duration::from_secs(10), self.objects.recv()).await.unwrap().unwrap().1
    }
}

async fn receive(stream: tokio::net::TcpStream, objects: mpsc::UnboundedSender<(String, Message)>) {
    let Ok(requested) = Requested::read(DimseSocket::from_stream(stream).unwrap(), soon()).await else {
        return;
    };
    let calling = requested.request().calling.to_string();
    let accepted = requested.accept(|_, syntaxes| Ok(syntaxes[0].clone()), |_| false, soon()).await;
    let Ok(mut association) = accepted else { return };
    loop {
        match message(&mut association).await {
            Ok(message) => {
                association.send(message.context, &message.command.response(0), None);
                let _ = objects.send((calling.clone(), message));
            }
            Err(AssociationError::Lost(reason)) if reason == "released" => {
                return association.confirm_release(soon()).await;
            }
            Err(_) => return,
        }
    }
}
