"""Closed lists of words by which `ragkit.memory.kinds` tells a value from a description of one."""

from __future__ import annotations

from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


FUNCTION: Final = _set(
    """about after again all also although always and any as back because before but by can could did do does done
    during each either else ever every for from gonna gotta had has have he her here him his how if into it its just
    like may maybe me might mine more most much must my myself never no none nor not nothing of off once one's only
    or other our ours out over perhaps please probably quite rather really self shall she should since so some
    someone something somewhere soon still than that their them then there these they this those though through to
    too towards under unless until up upon us very via was we well were what whatever when whenever where whether
    which while who whom whose why will with within without would yes yet you your later sooner sometime anytime
    asap i am are is be been being got get gets let lets"""
)
"""What no name begins with."""
ADVERBS: Final = _set(
    """again already almost always anymore away badly below best better fast hard here how late lately later least
    less much never nearby no not now often once online only outside overseas quite rather really remotely right
    seldom so somehow sometimes soon still there together too twice up very well worse worst yet abroad alone"""
)
DESCRIBING: Final = _set(
    """absent accurate active afraid alive amazing angry annoying asleep available average awake aware awesome awful
    bad beautiful big bitter blank blind bored boring bright brief broken brilliant brutal busy calm careful central
    challenging cheap clean clear clever closed cloudy cold comfortable common complete complex complicated confused
    confusing cool correct corrupt cozy cosy crazy critical crowded cruel cute damp dangerous dark dead dear deep
    demanding dense different difficult dim dirty disappointing done down draining dry dull dumb dusty dying early
    easy empty enough excellent exciting exhausting expensive extra fair fake false fantastic far fast fat fine firm
    fixed flat flexible foggy foul free fresh friendly frozen full fun funny generous gentle glad gone good gorgeous
    great gross happy hard harsh healthy heavy hell high hidden honest horrible hot huge humid ill important
    incorrect inaccurate insane intense interesting jammed kind lame large late lazy light little live lively loaded
    local locked lonely long loose lost loud lovely low lucky mad mean meh messy mild missing modern moody much
    muddy mute narrow nasty natural near neat new nice noisy normal obsolete odd off offline ok okay old on online
    open optional out over overdue painful patient pending perfect plain pleasant polite poor popular possible posh
    powerful pretty private public quick quiet quirky rare raw ready real relaxed reliable remote rich right rough
    rude sad safe secret secure serious severe shaky shallow sharp short shut shy sick silent silly simple sleepy
    slim slow small smart smelly smooth soft sore sour spacious special spicy stable stale steady steep sticky stiff
    still straight strange strict strong stuck stupid sturdy sunny super sure sweet swift tall tedious temporary
    terrible thick thin tight tiny tired tiring tough toxic tricky true ugly unclear unfair unique unknown unsafe
    unstable up upset urgent used useful useless vacant vague vast vital wasted warm weak weird well wet wide wild
    windy wise wonderful worn worse worst wrong young yummy unlisted unreachable overloaded toast trash rubbish
    garbage mine yours ours theirs his hers fascinating rewarding amusing frustrating satisfying depressing relaxing
    inspiring rusty shrinking growing"""
)
"""How something is; common adjectives and what is used like them."""
COMMON: Final = _set(
    """air bank bar bed bits boat bus cafe campus chaos college church city class clinic comfort construction
    cottage country countryside court danger day days debt denial desk development doubt downtown dorm dorms dreams
    education exile factory farm fear finance flat flats fun gym harmony healthcare heaven hell home hospital hostel
    hotel hours house housing hq hr insurance isolation it kindergarten law library limbo logistics lunch luxury
    management manufacturing marketing media misery months myself moment night nights nobody ourselves office
    offices parents pain peace peanuts people poverty prison private rent retail research retirement sales school
    sea service shifts shop shops silence sin solitude squalor store stores students studio suburb suburbia suburbs
    suburban tents town transit truth uni university upstairs downstairs village weeks woods work works years
    yourself mountains minutes rural urban anywhere everywhere nowhere food money free themselves others friends
    family children kids clients charity government startups startup agency agencies company companies"""
)
"""What stands without an article and is no name even where nothing is written with capitals."""
DEMONYMS: Final = _set(
    """african american arab argentinian asian australian austrian bavarian belgian brazilian british bulgarian
    canadian catholic chilean chinese christian colombian croatian cuban czech danish dutch egyptian english
    estonian ethiopian european filipino finnish flemish french german greek hungarian icelandic indian indonesian
    iranian iraqi irish israeli italian japanese jewish kenyan korean latvian lebanese lithuanian malaysian mexican
    moroccan muslim nigerian norwegian pakistani persian peruvian polish portuguese romanian russian saudi scottish
    serbian slovak slovenian spanish swedish swiss syrian taiwanese thai turkish ukrainian vegan vegetarian
    vietnamese welsh"""
)
"""Capitalised words that say where from."""
NUMBERS: Final = _set(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion"""
)
UNITS: Final[dict[str, str]] = {
    unit: dimension
    for dimension, units in {
        "time": "ms s sec secs second seconds min mins minute minutes h hr hrs hour hours day days week weeks month "
        "months year years 秒 分钟 小时 天 周 星期 个月 年",
        "length": "mm cm m km meter meters metre metres mile miles ft foot feet inch inches "
        "kilometers 厘米 米 公里 千米",
        "mass": "g kg lb lbs gram grams kilo kilos pounds ton tons 克 千克 公斤 斤 吨",
        "size": "kb mb gb tb kib mib gib bytes 字节",
        "money": "usd eur gbp cny rmb yuan dollars dollar euros euro 元 块 块钱 美元 欧元 万元 人民币",
        "percent": "% percent 百分",
        "heat": "° °c °f degrees 度 摄氏",
        "people": "people persons members students 人 名 位",
        "floor": "楼 层 floor",
    }.items()
    for unit in units.split()
}
"""Units by what they measure: a cat may be 3 years and 5 kg."""
KNOWN_NAMES: Final = _set(
    """aachen accra algiers amsterdam ankara antwerp athens atlanta auckland baghdad baku baltimore bangalore bangkok
    barcelona basel beijing beirut belfast belgrade bergen berlin bern birmingham bogota bologna bordeaux boston
    bratislava brisbane bristol brussels bucharest budapest cairo calgary cambridge canberra cardiff casablanca
    chengdu chennai chicago chongqing cleveland cologne copenhagen dakar dallas damascus delhi denver detroit dhaka
    doha dortmund dresden dubai dublin durban edinburgh edmonton florence frankfurt geneva genoa ghent glasgow
    gothenburg graz guangzhou halifax hamburg hangzhou hanoi harbin havana helsinki houston hyderabad istanbul
    jakarta jeddah jerusalem johannesburg kampala karachi kathmandu kiev kolkata krakow kyiv kyoto lagos lahore
    leeds leipzig lille lima lisbon liverpool ljubljana london lucerne luxembourg lyon madrid malaga manchester
    manila marseille melbourne memphis miami milan milwaukee minneapolis minsk monaco montevideo montreal moscow
    mumbai munich nairobi nanjing naples nashville newcastle nuremberg osaka oslo ottawa oxford palermo paris perth
    philadelphia phoenix pittsburgh porto portland prague pune quito reykjavik riga rome rotterdam salzburg santiago
    sapporo seattle seoul seville shanghai shenzhen singapore sofia stockholm strasbourg stuttgart suzhou sydney
    taipei tallinn tampa tbilisi tehran tianjin tokyo toronto toulouse trieste tunis turin utrecht valencia
    vancouver venice vienna vilnius warsaw wellington winnipeg wuhan yokohama zagreb zurich
    algeria argentina armenia australia austria bangladesh belgium bolivia brazil bulgaria california cambodia
    cameroon canada china colombia croatia cuba cyprus denmark ecuador egypt england estonia ethiopia finland
    florida france germany ghana greece hungary iceland india indonesia iran iraq ireland israel italy japan kenya
    kuwait latvia lebanon lithuania malaysia malta mexico mongolia morocco myanmar nepal netherlands nigeria norway
    ontario oregon pakistan panama peru philippines poland portugal qatar quebec romania russia scotland senegal
    serbia slovakia slovenia spain sweden switzerland syria taiwan tanzania texas thailand tunisia uganda ukraine
    uruguay venezuela vietnam wales zambia zimbabwe manhattan brooklyn
    aaron adam adrian alan albert alex alexander alice alison amanda amy andrea andrew angela anna anne anthony
    arthur barbara ben benjamin bob brian bruce carl carlos carol caroline catherine charles charlotte chris
    christina christopher claire clara claudia daniel david deborah dennis diana donald dorothy douglas edward elena
    elizabeth ellen emily emma eric erik eva evelyn fatima fiona francis gary george greg hannah harry heather helen
    henry hugo ian ingrid isabel jacob james jane janet jason jeff jennifer jessica jim joan joe john jonathan
    joseph joshua juan judith julia julie karen kate katherine keith kenneth kevin klaus larry laura lauren leo
    linda lisa louis lucas lucy luke margaret maria marie martin mary matthew megan michael michelle mike mohammed
    monica nancy natalie nathan nicholas nicole nina oliver olivia pamela patricia paul paula peter philip rachel
    ralph raymond rebecca richard robert roger ronald ruth ryan samantha samuel sandra sarah scott sean sharon
    simon sophie stephen steve steven stuart susan thomas tim timothy tom tony valerie vera victoria vincent walter
    wendy william yusuf zoe
    accenture adobe airbnb airbus alibaba amazon anthropic apple baidu barclays bbc boeing bosch bytedance cern
    chrysler cisco citibank deepmind deloitte dropbox ebay ericsson facebook ford gitlab github goldman google
    honda huawei ibm ikea instagram intel jpmorgan kpmg lenovo linkedin mckinsey mercedes meta microsoft mozilla nasa
    netflix nokia novartis nvidia openai oracle panasonic paypal pfizer philips pinterest pwc qualcomm reddit renault
    roche salesforce samsung sap shopify siemens sony spotify stripe tencent tesla tiktok toyota twitter uber unicef
    vodafone volkswagen volvo walmart wikimedia xiaomi yahoo zalando harvard stanford yale princeton caltech
    """
) | frozenset(
    "new york|los angeles|san francisco|san diego|san jose|las vegas|washington dc|salt lake city|hong kong|kuala "
    "lumpur|ho chi minh city|new delhi|tel aviv|abu dhabi|cape town|buenos aires|rio de janeiro|sao paulo|mexico "
    "city|the hague|st petersburg|new zealand|south korea|south africa|saudi arabia|sri lanka|costa rica|united "
    "kingdom|united states|new jersey|goldman sachs".split("|")
)
"""Cities, countries, given names and companies that are no common words, as people write them in lower case."""

SURNAMES: Final = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏"
    "钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安"
    "颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项"
    "曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边晏仇宗翦梅"
) | _set("欧阳 上官 司马 诸葛 司徒 东方 独孤 南宫 夏侯 尉迟 皇甫 令狐 慕容 端木 宇文 长孙 公孙")
ZH_DESCRIBING: Final = _set(
    """严格 严厉 温柔 和蔼 辛苦 稳定 安静 漂亮 便宜 方便 高兴 平静 平安 安全 安心 无聊 有趣 复杂 简单 困难 危险 干净
    脏 乱 慢 快 冷 热 大 小 好 坏 贵 新 旧 忙 累 难 满 空 高 矮 胖 瘦 美 丑 错 对 强 弱 长 短 远 近 重 轻 严肃 友好
    开朗 聪明 负责 认真 优秀 普通 一般 正常 异常 关闭 打开 开着 崩溃 繁忙 空闲 满员 暂停 正在 完成 未知 保密 秘密
    随便 开心 难过 生气 健康 文静 单身 独居 合租 自由 幸福 平凡 宽敞 高大 高冷 黄色 白色 温暖 常见 时髦 成熟 强势
    强硬 随和 谦虚 热情 冷淡 温和 暴躁 急躁"""
)
ZH_COMMON: Final = _set(
    """家 家里 楼 楼上 楼下 楼里 房 房子 屋 屋里 室 地下室 宿舍 附近 旁边 旁 对面 隔壁 里 里面 里边 上面 下面 外面
    外边 门口 市中心 中心 郊区 郊外 农村 乡下 乡村 城里 城外 城市 县城 公寓 套房 平房 别墅 旅馆 宾馆 民宿 校内 校外
    校园 小区 社区 路上 路边 床上 车上 车里 船上 山上 山里 海边 河边 湖边 国外 国内 海外 外地 本地 老家 当地 线上
    线下 远程 网上 这里 这儿 那里 那儿 哪里 一线 基层 前台 后台 现场 户外 室内 工地 夜班 白班 早班 晚班 加班 起床
    外卖 一下 自己 一个人 女生 男生 大家 别人 时候 一样 东西 问题 秘密 电梯 阳台 客厅 厨房 书房 卧室 咖啡馆 咖啡店
    咖啡厅 图书馆 健身房 地铁站 火车站 机场 商场 超市 餐厅"""
)
"""Common nouns and places that a Chinese value may end in without being a name."""
ZH_ORGANISATIONS: Final = _set(
    """公司 企业 单位 机构 学校 小学 中学 高中 大学 学院 医院 银行 酒店 工厂 商店 饭店 书店 机关 部门 团队 工作室
    研究所 实验室 创业公司 互联网公司 外贸公司 游戏公司 软件公司 广告公司 初创公司 科技公司 外企 国企 央企 民企 私企
    大厂 小厂 体制内 政府 互联网 餐馆 诊所 律所 律师事务所 事务所 幼儿园 培训班 培训机构"""
)
"""Organisations as there are many; with a name before them they are one of their own."""
ZH_PLACES: Final = _set(
    """北京 上海 天津 重庆 河北 山西 辽宁 吉林 黑龙江 江苏 浙江 安徽 福建 江西 山东 河南 湖北 湖南 广东 海南 四川
    贵州 云南 陕西 甘肃 青海 台湾 内蒙古 广西 西藏 宁夏 新疆 香港 澳门 石家庄 太原 沈阳 长春 哈尔滨 南京 杭州 合肥
    福州 南昌 济南 郑州 武汉 长沙 广州 海口 成都 贵阳 昆明 西安 兰州 西宁 呼和浩特 南宁 拉萨 银川 乌鲁木齐 台北 深圳
    厦门 青岛 大连 宁波 苏州 无锡 珠海 东莞 佛山 温州 烟台 常州 南通 徐州 绍兴 嘉兴 扬州 泉州 中山 惠州 洛阳 桂林
    三亚 唐山 保定 中国 美国 英国 法国 德国 日本 韩国 加拿大 新加坡 澳大利亚 澳洲 意大利 西班牙 俄罗斯 印度 泰国
    越南 马来西亚 瑞士 瑞典 荷兰 纽约 伦敦 巴黎 柏林 东京 大阪 首尔 硅谷 西雅图 旧金山 洛杉矶 波士顿 多伦多 温哥华
    悉尼 墨尔本 慕尼黑 浦东 海淀 朝阳"""
)
ZH_VERBS: Final = frozenset(
    "去来做学写跑看吃喝玩用等给让把被帮交买卖找起睡走坐站听说问教拿拍搬陪送接赚挣在从跟对为要会能可该尽减究改提"
)
"""What a Chinese verb phrase begins with; those that begin many names (打, 成, 向) are left out."""
