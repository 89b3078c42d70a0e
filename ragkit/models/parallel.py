"""Twenty short passages in Chinese and English: the language axis of an embedding model.

A multilingual model puts every passage of one language a little closer to a question in the same
language. The mean difference over parallel passages is that offset, and retrieval takes part of
it back (`ragkit.index.language_axis`).
"""

from __future__ import annotations

from typing import Final

PAIRS: Final[tuple[tuple[str, str], ...]] = (
    (
        "水在一个大气压下加热到一百摄氏度会沸腾。",
        "Water boils when heated to one hundred degrees Celsius at one atmosphere.",
    ),
    (
        "城市图书馆每周一闭馆，其余时间早上九点开放。",
        "The city library is closed on Mondays and opens at nine in the morning otherwise.",
    ),
    (
        "梯度下降沿着损失函数下降最快的方向更新参数。",
        "Gradient descent updates parameters in the direction in which the loss falls fastest.",
    ),
    (
        "这座桥建成于十九世纪末，至今仍在使用。",
        "The bridge was completed at the end of the nineteenth century and is still in use.",
    ),
    ("面团需要在温暖的地方发酵两个小时。", "The dough has to rise for two hours in a warm place."),
    ("数据库索引加快了查询，但会占用更多空间。", "A database index speeds up queries but takes more space."),
    (
        "候鸟在秋天向南飞行数千公里过冬。",
        "Migratory birds fly thousands of kilometres south in autumn to spend the winter.",
    ),
    ("合同必须由双方签字后才能生效。", "The contract takes effect only after both parties have signed it."),
    ("医生建议病人每天步行三十分钟。", "The doctor advised the patient to walk for thirty minutes every day."),
    (
        "这种算法的时间复杂度与输入长度的平方成正比。",
        "The time complexity of this algorithm is proportional to the square of the input length.",
    ),
    ("火车晚点是因为前方的线路正在维修。", "The train was late because the line ahead was being repaired."),
    ("植物通过光合作用把二氧化碳变成氧气。", "Plants turn carbon dioxide into oxygen through photosynthesis."),
    ("操作系统把内存分成大小相同的页来管理。", "The operating system manages memory in pages of equal size."),
    ("这幅画在拍卖会上以很高的价格售出。", "The painting was sold at a very high price at the auction."),
    ("学校决定把考试推迟到下个月。", "The school decided to postpone the examination until next month."),
    (
        "神经网络的每一层都对输入做一次非线性变换。",
        "Each layer of a neural network applies a nonlinear transformation to its input.",
    ),
    ("山区的气温随着海拔升高而下降。", "In the mountains the temperature falls as the altitude rises."),
    ("公司去年的出口额增长了百分之十二。", "The company's exports grew by twelve percent last year."),
    ("加密可以防止他人读取传输中的消息。", "Encryption keeps others from reading messages in transit."),
    ("球队在最后一分钟攻入了制胜的一球。", "The team scored the winning goal in the last minute."),
)
