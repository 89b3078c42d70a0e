"""Words of everyday language, which a paraphrase exchanges freely: 分别 for 各自, "about" for "roughly"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ragkit.text.tokens import stem

_PARTICLES: Final = "了的地着过"
_EVERYDAY: Final = frozenset(
    """
    通常 一般 常常 往往 经常 使用 采用 利用 运用 应用 用 需要 须要 因为 由于 所以 因此 于是 但是 不过
    然而 例如 比如 大约 大概 约 近 很 非常 十分 特别 显著 明显 仅 只 仅仅 只有 仅有 如果 若 假如 相比
    相较 得到 获得 取得 提高 提升 增强 降低 减少 下降 缩短 缩小 放入 放进 进 入 加入 添加 造成 保持 维持
    仍 仍是 仍然 依然 错误 多余 额外 细节 情况 导致 引起 带来 产生 生成 方法 办法 做法 方式 问题 之后
    以后 然后 之前 以前 同时 并且 而且 以及 能够 可以 可能 应该 必须 主要 重要 关键 全部 所有 整个 部分
    涨 升 升到 上涨 次 遍 回 自己 自身 本身 私有 独有 各自 分别 单独 独自 互相 相互 看作 看成 视为 视作
    理解为 相当于 等于 等价于 等效 等效于 依靠 依赖 靠 凭 凭借 借助 属于 算 算作 限制 受限 制约 达到 达
    追平 追上 持平 完成 结束 跑完 做完 装 填 塞 放 低于 不到 不足 少于 小于 高于 大于 多于 挑出来 拿出来
    取出来 用来 用于 以便 记录 记下 保存 存 储存 存放 搬 移 转移 求 求出 算出 猜 看到 见到 看见 遇到 碰到
    出现 发生 存在 拆 拆开 拆成 切 切开 切成 拼 拼起来 丢 丢掉 丢弃 扔掉 去掉 删掉 剔除 移除 写 写成 写出
    给出 读 读取 读出 找 找到 找出 寻找 接近 靠近 随便 任意 随意 任何 全 一切 情况下 条件下 前提下 总是
    永远 始终 一直 这类 那类 这些 那些 跟着 随之 开始 归到 归入 落入 落在 助长 鼓励 具体 直接 立即 马上
    立刻 完全 彻底 基本 几乎 包括 包含 含有 成为 变成 作为 叫 称 称为 叫做 说 指 指的 表示 说明 表明 显示
    认为 觉得 选择 选 挑 挑出 取 拿 当 当作 作 做 分 分成 分为 变 改 改成 换 换成 修改 改变 更 再 又 也
    还 都 已 已经 个 种 类 条 份 道 题 题目 则 便 就 即 即使 大 多 好 让 给 把 看 查看
    """.split()
) | frozenset(
    stem(word)
    for word in """
    about around roughly approximately some usually typically often commonly generally use uses used
    employ employs apply applies show shows demonstrate demonstrates indicate large big great small
    little must has have need needs require requires only merely just because since as so therefore thus
    hence also too may can could might will would should get gets obtain gain make makes let lets give
    gives take takes taken made keep keeps such like for example instance very much quite more most
    mainly mostly chiefly nearly almost both all every each any several many few own same way method
    approach everything everyone anything anyone reach reaches reached achieve achieves attain attains
    rise rises climb climbs go goes come comes put puts set sets store stores save saves hold holds
    separately respectively equal equals rely relies depend depends finish finishes done
    """.split()
)


def is_everyday(keys: Sequence[str]) -> bool:
    """Whether these are words of everyday language, which paraphrase exchanges freely."""
    word = "".join(keys)
    return word in _EVERYDAY or word.rstrip(_PARTICLES) in _EVERYDAY or all(key in _EVERYDAY for key in keys)
