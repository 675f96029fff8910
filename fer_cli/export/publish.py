"""Publication of a run on the Hugging Face Hub: its packaged form with its card, in a private repository by default."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.utils import HFValidationError, disable_progress_bars, logging, validate_repo_id

from fer_cli.errors import FerError, ModelError, RunError, UsageError
from fer_cli.export.card import README, UNSTATED, Publication, is_own
from fer_cli.export.package import package
from fer_cli.export.provenance import Source, corpora_behind, weights_behind
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import Run

_AGAIN = "Look at the network, and type the same line again: what has arrived is not sent twice."


@dataclass(frozen=True)
class Plan:
    """What would be sent: the ``files`` with their sizes in bytes, the ``card``, and the weights' ``licence``.

    ``unpermitted`` are the data and weights behind the run whose owners do not allow everybody to publish what is made
    from them.
    """

    files: dict[str, int]
    card: str
    licence: str
    unpermitted: tuple[Source, ...]


@dataclass(frozen=True)
class Published:
    """What was sent: the repository's ``url``, the ``commit``, whether it is ``private``, and the ``plan``.

    ``changed`` is False where the repository had the same files already.
    """

    url: str
    commit: str
    private: bool
    changed: bool
    plan: Plan


def plan(run: Run, publication: Publication, *, scores: tuple[Path, ...] = (), notes: Path | None = None) -> Plan:
    """What :func:`push` would send; nothing is sent, and the network is not used. Raises as :func:`push` does."""
    _check(run, publication)
    with _packaged(run, publication, scores, notes) as (_, made):
        return made


def push(
    run: Run,
    publication: Publication,
    *,
    public: bool = False,
    scores: tuple[Path, ...] = (),
    notes: Path | None = None,
    progress: Progress = silent,
) -> Published:
    """Send the packaged form of ``run``, in full precision, to ``publication.repository`` as one commit.

    A repository that is not there is made: private, or ``public`` if asked for. Its predictions are the run's own.
    No picture is sent and no subject's name. ``scores`` and ``notes`` are as :func:`~fer_cli.export.package.package`
    takes them. Sent again, there is a new commit if anything has changed.

    Raises :class:`~fer_cli.errors.UsageError` for a name that the Hub does not take, data whose owners do not permit it
    unless ``publication.permission`` says who did, and a public repository that was not asked for;
    :class:`~fer_cli.errors.RunError` if the run has not been evaluated; :class:`~fer_cli.errors.ModelError` if the Hub
    cannot be reached or refuses.
    """
    name, unpermitted = publication.repository, _unpermitted(run)
    _check(run, publication)
    if unpermitted and not publication.permission:
        raise _not_permitted(unpermitted)
    if is_offline_mode():
        raise ModelError(
            f"{name} cannot be published: the Hub is switched off here (HF_HUB_OFFLINE).",
            hint="Type HF_HUB_OFFLINE=0 before the line.",
        )
    if get_token() is None:
        raise ModelError(f"{name} cannot be published: nobody is logged in to the Hub.", hint=_LOGIN)
    with _packaged(run, publication, scores, notes) as (folder, made):
        disable_progress_bars()
        logging.set_verbosity_error()
        progress(f"sending to {name}", 0, None)
        api = HfApi(library_name="fer-cli")
        try:
            url = api.create_repo(name, private=not public, exist_ok=True)
            before = api.repo_info(name)
            if not (before.private or public):
                raise UsageError(
                    f"{name} is public: what is sent there anybody can read.",
                    hint="Type --public if that is meant, or another name.",
                )
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                allow_patterns=list(made.files),
                commit_message=f"Written by fer {run.card['versions']['fer']}",
            )
        except FerError:
            raise
        except Exception as error:  # the Hub's errors, the network's, and those of the client's threads
            raise _explained(name, error) from error
        return Published(str(url), commit.oid, bool(before.private), commit.oid != before.sha, made)


@contextmanager
def _packaged(
    run: Run, publication: Publication, scores: tuple[Path, ...], notes: Path | None
) -> Iterator[tuple[Path, Plan]]:
    """The packaged form of ``run`` in a folder that goes away again, and what is in it."""
    with TemporaryDirectory(prefix="fer-push-") as folder:
        made = package(run, Path(folder, "run"), scores=scores, notes=notes, exact=True, publication=publication).path
        card = (made / README).read_text(encoding="utf-8")
        files = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
        yield made, Plan(files, card, _licence(run, card, publication), _unpermitted(run))


def _unpermitted(run: Run) -> tuple[Source, ...]:
    return tuple(each for each in (*corpora_behind(run), *weights_behind(run)) if not each.publishable)


def _check(run: Run, publication: Publication) -> None:
    name, licence = publication.repository, publication.licence
    try:
        validate_repo_id(name)
        if name.count("/") != 1:
            raise HFValidationError("it needs an organisation or a user, and a name")
    except HFValidationError as error:
        raise UsageError(
            f"{name} is no name of the Hub: {error}", hint="Type ORG/NAME, such as anna/smiles."
        ) from error
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise UsageError(
            f"--licence {licence}: not an identifier of the Hub's.",
            hint="Type one such as cc-by-nc-4.0, mit or apache-2.0: https://huggingface.co/docs/hub/repositories-licenses.",
        )
    if "scores" in run.card:
        raise RunError(
            f"{run.path} is a packaged folder, and not the run that it was made of.",
            hint=f"Push that run; or send the folder as it is: hf upload {name} FOLDER --private.",
        )


def _licence(run: Run, card: str, publication: Publication) -> str:
    """The licence that the card states; raises where a person's card states another than was typed."""
    if not (run.path / README).is_file() or is_own(run.path / README):
        return publication.licence
    try:
        stated = ModelCard(card).data.get("license")
    except Exception as error:  # YAML that is none
        raise RunError(
            f"{run.path / README} has no readable metadata: {error}.", hint="Mend its first lines."
        ) from error
    if publication.licence not in (UNSTATED, stated):
        raise UsageError(
            f"--licence {publication.licence}: {run.path / README} is a person's, and states {stated or 'none'}.",
            hint="Write the licence into it, as license: in its first lines.",
        )
    return str(stated or UNSTATED)


def _not_permitted(unpermitted: tuple[Source, ...]) -> UsageError:
    names = ", ".join(f"{each.name} ({each.permission})" for each in unpermitted[:5])
    return UsageError(
        f"Weights are not published without the permission of those whose data they were made from: {names}.",
        hint='If you have it, type --permission "who gave it, and where it is written", which goes into the card.',
    )


_LOGIN = "Type hf auth login, or put a token that may write into HF_TOKEN."


def _explained(name: str, error: Exception) -> ModelError:
    """What the Hub's refusal, or its absence, means to a person."""
    cause: BaseException | None = error
    status = None
    while cause is not None and status is None:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        cause = cause.__cause__
    if status == 401:
        return ModelError(f"{name} cannot be published: the Hub does not take the token of this machine.", hint=_LOGIN)
    if status in (403, 404):
        return ModelError(
            f"{name} cannot be published: the name is somebody else's, or your token may not write there.",
            hint="Type a name of your own, or of an organisation that you are in; hf auth whoami says who you are.",
        )
    if status == 409:
        return ModelError(
            f"{name} cannot be published: it was changed at the same time.", hint="Type the same line again."
        )
    if status is not None:
        return ModelError(f"{name} was not published: the Hub answered {status}.", hint=_AGAIN)
    if isinstance(error, ValueError):
        return ModelError(f"{name} was not published: {error}", hint=f"Look at the first lines of {README}.")
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return ModelError(
        f"{name} was not published: the Hub cannot be reached ({type(root).__name__}: {root}).", hint=_AGAIN
    )
