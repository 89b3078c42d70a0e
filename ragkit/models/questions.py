"""What a question vector says beyond its subject: that it is a question, and in which language.

The vectors of an embedding model lie in a narrow cone (Ethayarajh 2019, arXiv:1909.00512): any
question is close to any passage, closer still to one in its own language, and to some passages
("hubs") more than to others whatever is asked. All of that is in the mean vector of questions
about nothing in particular. Taken off the question, what remains is compared: short passages and
those in the other language are no longer ranked by how much they look like an answer to anything.
The same idea for passages is "all-but-the-top" (Mu & Viswanath 2018, arXiv:1702.01417); for
retrieval hubs see Dinu et al. 2015 (arXiv:1412.6568). Nothing is stored per passage, so that any
index, exact or not, is searched with the changed vector as with the plain one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ragkit.models.embeddings import EmbeddingModel, Vectors
from ragkit.models.measured import measured_once

QUESTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("水在什么温度下会沸腾？", "At what temperature does water boil?"),
    ("图书馆星期几闭馆？", "On which day of the week is the library closed?"),
    ("梯度下降是怎么更新参数的？", "How does gradient descent update the parameters?"),
    ("这座桥是什么时候建成的？", "When was the bridge completed?"),
    ("面团要发酵多久？", "How long does the dough have to rise?"),
    ("数据库加了索引为什么查询更快？", "Why do queries get faster once a database has an index?"),
    ("候鸟为什么要在秋天飞到南方？", "Why do birds fly south in autumn?"),
    ("合同什么情况下会失效？", "Under what conditions does the contract become void?"),
    ("医生建议病人怎么做？", "What did the doctor advise the patient to do?"),
    ("这个算法的时间复杂度是多少？", "What is the time complexity of this algorithm?"),
    ("火车晚点的原因是什么？", "What was the reason for the delay of the train?"),
    ("光合作用和呼吸作用有什么区别？", "What is the difference between photosynthesis and respiration?"),
    ("操作系统如何管理内存？", "How does the operating system manage memory?"),
    ("这幅画卖了多少钱？", "How much was the painting sold for?"),
    ("谁决定推迟考试？", "Who decided to postpone the examination?"),
    ("神经网络的每一层在做什么？", "What does each layer of a neural network do?"),
    ("山上的气温为什么比山下低？", "Why is it colder on the mountain than in the valley?"),
    ("公司去年的出口增长了多少？", "By how much did the company's exports grow last year?"),
    ("怎样防止别人读取传输中的消息？", "How can others be kept from reading messages in transit?"),
    ("哪支球队赢得了比赛？", "Which team won the match?"),
    ("举例说明这种方法的优点和缺点。", "Explain the advantages and drawbacks of this method with an example."),
    ("第一次登上月球是在哪一年？", "In which year did people first land on the Moon?"),
    ("如果电池坏了该怎么办？", "What should be done if the battery fails?"),
    ("这座城市有多少人口？", "How many people live in the city?"),
    ("这本书的作者是谁？", "Who is the author of the book?"),
    ("系统在高负载下为什么会变慢？", "Why does the system slow down under heavy load?"),
    ("能不能不重启就更新配置？", "Can the configuration be updated without a restart?"),
    ("这条规定从什么时候开始生效？", "From when does the rule apply?"),
    ("测试时发现误差变大，可能是哪里出了问题？", "The error grows during testing; what may have gone wrong?"),
    ("把两种材料放在一起会发生什么？", "What happens when the two materials are put together?"),
    ("为什么样本太少时结果不可靠？", "Why are the results unreliable when there are too few samples?"),
    ("河流的源头在哪里？", "Where is the source of the river?"),
    ("怎么判断一个数是不是质数？", "How can one tell whether a number is prime?"),
    ("税率提高对消费有什么影响？", "What effect does a higher tax rate have on consumption?"),
    ("这种药一天吃几次？", "How many times a day is this medicine taken?"),
    ("备份应该多久做一次？", "How often should backups be made?"),
    ("国王去世后谁继承了王位？", "Who succeeded to the throne after the king's death?"),
    ("声音在水里传播得更快吗？", "Does sound travel faster in water?"),
    ("写报告时要注意哪些问题？", "What should be kept in mind when writing a report?"),
    ("两个方案里哪个更省钱，为什么？", "Which of the two plans is cheaper, and why?"),
)
"""Ordinary questions in Chinese and English, each saying the same, on as many subjects as there are questions."""


@dataclass(frozen=True)
class QuestionCentre:
    """Mean question vectors of one embedding model."""

    means: Vectors
    """(2, dimension): of Chinese questions, of English ones; not normalised."""

    @classmethod
    def measure(cls, model: EmbeddingModel) -> QuestionCentre:
        """Embed `QUESTIONS`, one by one as questions are (about a second with the bundled model)."""
        rows = [[model.encode_query(text) for text in pair] for pair in QUESTIONS]
        return cls(np.asarray(rows, dtype=np.float32).mean(axis=0))

    @classmethod
    def of(cls, model: EmbeddingModel, folder: Path | None = None) -> QuestionCentre:
        """The centre of this model, measured once and kept in `folder`."""
        texts = (text for pair in QUESTIONS for text in pair)
        shape = (2, model.identity.dimension)
        return cls(measured_once(folder, "questions", model, texts, shape, lambda: cls.measure(model).means))

    def language(self, question: Vectors) -> float:
        """Where a (dimension,) question vector lies between English (0) and Chinese (1); 0.5 if the model is blind."""
        chinese, english = self.means
        axis = chinese - english
        length = float(axis @ axis)
        return float(np.clip((question - english) @ axis / length, 0, 1)) if length > 1e-9 else 0.5

    def centred(self, question: Vectors, centring: float, correction: float) -> Vectors:
        """A question vector without what it shares with any question.

        ``q' = q - centring * (zh + en) / 2 - correction * (2 language(q) - 1) * (zh - en) / 2``

        Args:
            question: (dimension,) unit vector.
            centring: Share (0..1) of the mean of both languages that is taken off.
            correction: Share of the language offset that is taken off: 0 keeps to passages in the
                question's language, 1 takes the measured offset back whole.

        Returns:
            (dimension,) float32, not of unit length: the product with a passage is the cosine less
            what `QUESTIONS` have in common with that passage.
        """
        chinese, english = self.means
        common = centring * (chinese + english) / 2
        offset = correction * (2 * self.language(question) - 1) * (chinese - english) / 2
        return np.asarray(question - common - offset, dtype=np.float32)
