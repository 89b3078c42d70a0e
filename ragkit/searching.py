"""Searching an opened index: planning queries, both legs, and the stages behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ragkit.errors import IndexClosedError, ModelError, UsageError
from ragkit.index.engine import Filter
from ragkit.lookup import Lookup
from ragkit.models.embeddings import Vectors
from ragkit.retrieval.confidence import LOOKED_AT, Confidence, confidence_of
from ragkit.retrieval.legs import Mode
from ragkit.retrieval.planner import MIXED, Name, Plan, Planner, Policy
from ragkit.retrieval.replies import KeptReplies, chosen_policies
from ragkit.retrieval.rerank import CrossEncoderReranker, ListwiseReranker, Reranker
from ragkit.retrieval.retriever import Query, Retriever, check_k, check_mode, check_question
from ragkit.retrieval.rewrite import Past, StructuredModel, turns_of
from ragkit.retrieval.stages import Source, Stages
from ragkit.settings import Settings
from ragkit.text.language import answer_language
from ragkit.text.sanitize import clean_question
from ragkit.values import Hit, PictureHit


class Searching(Lookup):
    """The part of `ragkit.api.Index` that searches."""

    settings: Settings
    chat: StructuredModel | None
    _searcher: Retriever | None
    """None once the index is closed."""
    _replies: KeptReplies
    _cross_encoder: CrossEncoderReranker | None

    @property
    def _retriever(self) -> Retriever:
        """Searches the state of the index that is read now."""
        if self._searcher is None:
            raise IndexClosedError
        return self._searcher

    def search(
        self,
        query: str,
        k: int = 5,
        mode: Mode = "hybrid",
        *,
        rewrite: bool | Policy | None = None,
        hyde: bool | Policy | None = None,
        history: Sequence[Past] = (),
        translate: bool | Policy | None = None,
        rerank: bool = False,
        merge: bool | None = None,
        where: Filter | Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """The `k` best chunks for a question, best first.

        Args:
            query: The question, at most 20,000 characters.
            k: Number of hits, at least 1.
            mode: ``hybrid``, ``dense`` or ``sparse``.
            rewrite: Whether the chat model adds rewritten and varied queries: always, never, or ``"auto"``, see
                `ragkit.retrieval.planner`; None: as the setting says.
            hyde: The same for a hypothetical passage.
            history: Earlier turns that a follow-up refers to, as pairs of question and answer.
            translate: The same for the question in the notes' language; None: as `rewrite`, if that is given.
            rerank: Let the reranker of the settings put the best candidates in order.
            merge: Whether adjacent hits of one section become one passage; None: as ``merge_neighbours`` says.
            where: Which chunks may be returned; None allows all. A `Filter` or a mapping with any of its conditions:
                ``documents`` (paths or patterns), ``heading`` (text in it), ``tags``, ``language`` (zh, en, other).

        Raises:
            UsageError: If the question is empty, too long or no text, or k, mode, `where` or a policy is wrong.
        """
        where = Filter.of(where)
        check_mode(mode)
        check_k(k)  # before a chat model is asked
        plan = self.plan(query, rewrite=rewrite, hyde=hyde, history=history, translate=translate)
        asked = plan.standalone if rerank else ""
        return self.search_queries(plan.queries, k=k, mode=mode, rerank=asked, merge=merge, where=where)

    def plan(
        self,
        query: str,
        *,
        rewrite: bool | Policy | None = None,
        hyde: bool | Policy | None = None,
        history: Sequence[Past] = (),
        translate: bool | Policy | None = None,
        chat: StructuredModel | None = None,
        started: Callable[[Name], None] = lambda name: None,
        unanswered: Callable[[str, Sequence[Query]], bool] = lambda question, queries: False,
    ) -> Plan:
        """The queries that `search` would run, the user's own first, and why each is there.

        Args:
            query: See `search`, as for `rewrite`, `hyde`, `history` and `translate`.
            rewrite: See `search`.
            hyde: See `search`.
            history: See `search`.
            translate: See `search`.
            chat: Model to ask; None: that of the index.
            started: Told the name of a transform before the model is asked.
            unanswered: Whether notes of both languages do not answer a question; ``auto`` does not translate it then.
        """
        query = clean_question(query)
        check_question(query)
        policies = chosen_policies(self.settings, rewrite, translate, hyde)
        model = (chat or self._structured()) if policies.wanted else None
        planner = Planner(
            (lambda: self._replies.around(model)) if model is not None else None,
            self.language,
            policies,
            self.confidence,
            self.settings.transform_seconds,
            self._engine.chinese_share() >= MIXED <= 1 - self._engine.chinese_share(),
            started,
            unanswered,
        )
        return planner.plan(query, turns_of(history))

    def confidence(self, queries: Sequence[Query]) -> Confidence:
        """How sure a hybrid search for `queries` is to have found what they ask for."""
        hits = self._retriever.search(list(queries), k=LOOKED_AT)
        return confidence_of(hits, self.model.temperature, answer_language(queries[0].text))

    def search_queries(
        self,
        queries: Sequence[Query],
        k: int = 5,
        mode: Mode = "hybrid",
        where: Filter | Mapping[str, Any] | None = None,
        *,
        rerank: str = "",
        merge: bool | None = None,
    ) -> list[Hit]:
        """Run prepared queries; the first one is the user's own.

        Reranking for the question `rerank`, diversity and merging of neighbours follow, see `search`.
        """
        check_k(k)
        stages = self.stages(rerank, merge)
        hits, source = self.candidates(queries, stages.depth(k), mode, Filter.of(where))
        return stages.run(hits, source, k)

    def candidates(
        self, queries: Sequence[Query], k: int, mode: Mode = "hybrid", where: Filter | None = None
    ) -> tuple[list[Hit], Source]:
        """The `k` best chunks before any stage, and the state of the index that they were found in.

        What the stages ask for must come from that state: the index may change under a search.
        """
        retriever = self._retriever
        return retriever.search(list(queries), k, mode, where), retriever

    def stages(self, rerank: str = "", merge: bool | None = None) -> Stages:
        """What follows a search by the settings: reranking for the question `rerank`, diversity, merging.

        Raises:
            ModelError: If the reranker is the chat model and there is none.
        """
        merge = self.settings.merge_neighbours if merge is None else merge
        return Stages(rerank, self._reranker() if rerank else None, self.settings.diversity, merge)

    def search_many(self, queries: Sequence[str], k: int = 5, mode: Mode = "hybrid") -> list[list[Hit]]:
        """The `k` best chunks for each question, as `search` finds them without a chat model.

        The questions are embedded as one batch and searched for by one matrix product where the engine
        has one; a model that runs batches in bfloat16 moves cosines by some thousandths, and with them the scores of a
        hybrid search by up to some tenths: hits that are this close may change places.

        Raises:
            UsageError: If a question is empty, too long or no text, or k or mode is wrong.
        """
        if isinstance(queries, str):
            raise UsageError("search_many takes a list of questions.", "Pass a single one to search.")
        check_k(k)
        cleaned = [clean_question(query) for query in queries]
        stages, retriever = self.stages(), self._retriever
        found = retriever.search_many(cleaned, k=stages.depth(k), mode=mode)
        return [stages.run(hits, retriever, k) for hits in found]

    def nearness(self, questions: Sequence[str], texts: Sequence[str], hits: Sequence[Hit] = ()) -> Vectors:
        """How near texts are to questions as the dense leg sees it, (questions, texts); higher is nearer.

        Args:
            questions: Wordings of a question.
            texts: Sentences, lines, blocks.
            hits: Passages that hold the texts; of their sentences the index may have the vectors.

        Raises:
            ModelError: If the embedding model fails.
        """
        return self._retriever.nearness(questions, texts, hits)

    def search_images(self, query: str, k: int = 5) -> list[PictureHit]:
        """The `k` pictures of the notes that fit a text best, each at its place in a note.

        Raises:
            ConfigError: If the setting ``images`` is off.
            IndexMismatchError: If the pictures were looked at with another model, or not yet.
        """
        from ragkit.retrieval.pictures import search_pictures

        if self._state is None:  # they are kept beside the index, not in it
            raise IndexClosedError
        return search_pictures(self.folder, self.settings.images, query, k)

    @property
    def has_chat(self) -> bool:
        """Whether a chat model is there for ``rewrite=`` and ``hyde=``."""
        return self._structured() is not None

    def _reranker(self) -> Reranker:
        """The reranker of the settings.

        Raises:
            ModelError: If it is the chat model and there is none.
        """
        name = self.settings.rerank_model
        if name != "chat":
            if self._cross_encoder is None or self._cross_encoder.name != name:
                self._cross_encoder = CrossEncoderReranker(name)
            return self._cross_encoder
        chat = self._structured()
        if chat is None:
            raise ModelError("Reranking needs a chat model.", "Set chat_model, or rerank_model to a cross-encoder.")
        return ListwiseReranker(chat)

    def _structured(self) -> StructuredModel | None:
        if self.chat is None:
            from ragkit.models.chat import resolve_chat

            self.chat = resolve_chat(self.settings.chat_model, self.settings).structured()
        return self.chat
