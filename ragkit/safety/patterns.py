"""The words of the rules, by category; `ragkit.safety.rules` says when they count.

All patterns run on folded text: half width, lower case, simplified characters.
"""

from __future__ import annotations

from typing import Final

_PERSON: Final = (
    r"(?:(?:my|your|his|her|their|our|the|a|an|some)\s+(?:\w+\s+){0,2}?(?:wife|husband|boss|neighbou?rs?|ex|girlfriend|boyfriend|mother|father|mom|dad"
    r"|parents?|brother|sister|teacher|classmates?|colleagues?|co-?workers?|roommate|kids?|child|children|son|daughter|baby|woman|women|man|girls?"
    r"|boys?|person|people|stranger|student|politician|president|mayor|policeman|cops?|officer|victim|landlord|rival|crowd|cat|dog)\b"
    r"|(?:someone|somebody|people|children|strangers|him|her|them|civilians|everyone|pedestrians)\b)"
)
_MAKE: Final = (
    r"(?:make|making|build|building|construct|assemble|assembling|create|cook|cooking|detonate|plant|set off|prepare|print|synthesi[sz]e|produce"
    r"|brew|buy|buying|get|obtain|order|smuggle|smuggling|sell|selling|grow|mix|modify|convert)"
)
_MAKE_ZH: Final = (
    r"(?:自制|制作|制造|(?:做|造)(?!的)|合成|配制|提炼|购买|买|弄到|搞到|组装|改装|引爆|走私|贩卖|卖|种|生产|携带|打印)"
)

_WEAPON: Final = (
    r"(?:(?:pipe|nail|car|petrol|fertili[sz]er|dirty|home-?made|suicide)?[ -]?bombs?\b(?![- ]?proof)|explosives?\b|\bieds?\b|grenades?\b|molotovs?\b|nerve (?:agent|gas)|poison(?:ous)? gas"
    r"|toxic gas|sarin|ricin|anthrax|ghost guns?|silencers?\b|untraceable (?:gun|firearm|pistol|rifle)s?|illegal guns?|guns?\b|firearms?\b"
    r"|(?:chemical|biological|bio|nuclear) ?weapons?|napalm|land ?mines?\b)"
)
_WEAPON_ZH: Final = r"(?:炸弹(?!机)|炸药|爆炸物|雷管|手雷|手榴弹|燃烧瓶|燃烧弹|土枪|枪支|手枪|步枪|猎枪|枪|子弹|毒气|毒药|沙林|蓖麻毒素|鞭炮炸药|炭疽|神经毒剂|生化武器|化学武器|管制刀具|弩)"
_DRUG: Final = (
    r"(?:\b(?:crystal )?meth\b|methamphetamines?|cocaine|heroin|fentanyl|\blsd\b|mdma|ecstasy pills|ketamine|\bghb\b|opium|crack cocaine|illegal drugs"
    r"|\bweed\b|marijuana|date[- ]rape drugs?|magic mushrooms)"
)
_DRUG_ZH: Final = r"(?:冰毒|大麻|海洛因|可卡因|摇头丸|k粉|氯胺酮|毒品|鸦片|罂粟|芬太尼|笑气|迷药|迷奸药|听话水|麻古)"
_MINOR: Final = (
    r"(?:child(?:ren)?|minors?|kids?|under-?aged?|pre-?teens?|school ?girls?|school ?boys?|little (?:girl|boy)s?"
    r"|(?:(?:[5-9]|1[0-7])|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen)[- ]years?[- ]olds?)"
)
_SEX: Final = (
    r"(?:sex(?:ual(?:ly)?)?|porn(?:ography|ographic)?|erotic(?:a)?|nudes?|naked|explicit|intimate (?:photo|picture)s?)"
)
_MINOR_ZH: Final = r"(?:儿童|未成年(?:人|少女|女孩)?|小学生|初中生|幼女|萝莉|小女孩|小男孩|小孩|幼童|十[一二三四五六]岁|1[0-7] ?岁|初中女生|高中女生|女学生)"
_SEX_ZH: Final = (
    r"(?:色情|裸照|裸体|性爱|黄色小说|黄片|成人片|性行为|性交|做爱|发生关系|情色|a片|肉文|床戏|香艳(?:故事)?|私密照)"
)

ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "violence": (
        rf"\b{_MAKE}\b.{{0,40}}?{_WEAPON}",
        rf"\b(?:kill|murder|poison|stab|strangle|shoot|torture|kidnap|assassinate|suffocate|hurt|burn|behead|ambush|run over)(?:ing)?\s+{_PERSON}",
        r"\b(?:mass|school|church) shooting|shooting (?:at|in) (?:my|a|the) (?:school|office|mall|church)|terror(?:ist)? attack on",
        r"(?:get|getting) away with (?:murder|killing)|hide (?:a|the|his|her) (?:dead )?body|\b(?:spread|release|disperse)\b.{0,20}\b(?:anthrax|virus|pathogens?|bacteria|gas)\b.{0,40}\b(?:station|subway|crowd|building|city|people)|chemicals.{0,40}poison(?:ous)? gas",
        rf"{_MAKE_ZH}.{{0,10}}?{_WEAPON_ZH}|{_WEAPON_ZH}.{{0,6}}?(?:怎么|如何|怎样)?(?:制作|制造|做法|配方|自制|引爆|做|造)",
        r"(?:杀了|杀死|杀掉|杀害|弄死|毒死|毒杀|捅死|勒死|打死|干掉|害死|砍死|报复|绑架|虐杀|掐死|暗杀|灭口)(?:我|他|她|自己的)?(?:的|前|那个|这个|一个|了)?"
        r"(?:老板|老婆|老公|妻子|丈夫|邻居|同学|同事|室友|前女友|前男友|女友|男友|父母|爸|妈|老师|孩子|小孩|人|他|她|领导|上司|社会|猫|狗|流浪猫)",
        r"杀人(?:不留|而不|方法|不被|后|灭口|的)|抛尸|毁尸灭迹|藏尸|恐怖袭击|无差别(?:杀人|袭击)|袭击(?:学校|商场|人群|路人)|人群的袭击|(?:毒药|下毒).{0,16}(?:死|查不)|打死人|打残|验不出伤|(?:勒死|捂死|掐死|毒死)(?:一个|某个|别)?人|(?:炭疽|病菌|病毒|毒气).{0,8}(?:投放|散播|释放)|(?:投放|散播|释放).{0,8}(?:炭疽|病菌|毒气)|开火的枪|(?:死|弄)得像意外",
    ),
    "self-harm": (
        r"\bkill(?:ing)? myself\b|\bend(?:ing)? (?:my|your) (?:own )?life\b|\bsuicide (?:note|method|plan|pact)|\bcommit(?:ting)? suicide\b|\bcut(?:ting)? myself\b"
        r"|\bhid(?:e|ing) (?:my|your) (?:cutting|cuts)|\bhurt(?:ing)? myself\b|\bhang(?:ing)? myself\b|\boverdose on\b|(?:pills|tablets|dose).{0,30}\bto (?:die|be lethal|overdose)|\bstarve myself\b|\bjump off\b.{0,20}\bdie\b|\b(?:lethal|fatal) dose\b|\bmake myself (?:vomit|throw up)",
        r"自杀|自残|割腕|割手腕|上吊|跳楼|跳下去.{0,6}死|一睡不醒|毫无痛苦地(?:离开|死)|烧炭|结束(?:自己的?|我的?|这条)(?:生命|命)|不想活了|遗书|轻生|寻死|(?:安眠药|药片?|头孢).{0,6}(?:会死|致死|能死|才会死)|伤害自己|催吐",
    ),
    "illicit": (
        rf"\b{_MAKE}\b.{{0,40}}?{_DRUG}|{_DRUG}.{{0,30}}?\b(?:recipe|dealer|delivered|for sale|across the border|past customs)",
        r"\blaunder(?:ing)?\b.{0,25}\b(?:money|cash|proceeds)|\bcounterfeit(?:ing)?\b.{0,15}\b(?:money|bills|banknotes|notes|currency)|\bfake (?:banknotes|money|passports?|ids?\b|id cards?|diplomas?|prescriptions?)",
        r"\bshoplift|\brob(?:bing)? (?:a|the|an) |\bsteal(?:ing)? (?:a |the |an |from )?(?:\w+ ){0,2}(?:car|cars|bike|phone|phones|shop|store|wallet|money|packages?|jewel\w+|identity)\b"
        r"|\bbreak(?:ing)? into (?:a|the|my|someone'?s?)\s?(?:\w+ )?(?:house|home|car|apartment|flat|safe|shop|store|office)|\bpick (?:a|the) lock",
        r"\bforg(?:e|ing)\b.{0,30}\b(?:signature|certificate|passport|stamp|document|prescription|cheque|check|diploma)|\bevad(?:e|ing) tax|\bscam (?:call|email|script|old|elderly|people|message)|\bponzi scheme|\bcheat(?:ing)? (?:an?|the|my) (?:insurance|insurer)|\binsurance fraud|\bpast customs\b|\bhuman traffick|\bbribe\b",
        rf"{_MAKE_ZH}.{{0,8}}?{_DRUG_ZH}|{_DRUG_ZH}.{{0,8}}?(?:哪里买|怎么买|送货|配方|制作|怎么做|怎么合成|原料|货源|渠道)|制毒|贩毒|吸毒的方法|藏毒",
        r"洗钱|骗保|保险公司.{0,6}骗|骗.{0,4}保险|抢(?:劫|金店|银行|珠宝)|(?:车|手机|东西).{0,12}偷走|印假钞|(?:制造|做|造)假(?:钞|币)|假钞|伪造.{0,8}(?:公章|证|学历|签名|文件|发票|病历|护照|银行流水)|办假证|假身份证|(?:逃|偷)税|骗保|骗(?:老人|老年人|钱|贷)|诈骗(?:话术|脚本|剧本|短信|方法)|杀猪盘"
        r"|偷(?:电动车|车|东西|手机|钱|自行车|电瓶|窃)|盗窃|抢(?:银行|劫)|撬锁|开锁.{0,6}(?:别人|邻居|偷)|入室|走私|贩卖人口|代孕黑市|行贿|传销.{0,6}(?:拉|发展)",
    ),
    "cyber": (
        r"\bhack(?:ing)?\b(?: into)?\s+(?:(?:my|his|her|their|someone'?s?|somebody'?s?|a|an|the|another)\s+)?(?:\w+'?s?\s+){0,3}?(?:account|instagram|facebook|gmail|email|phone|wifi|wi-fi|bank|website|server|network|computer|webcam|camera|laptop|database|system|icloud|whatsapp|router|people)\b",
        r"\b(?:write|make|create|build|code|give|develop|deploy|spread|here is|sell|send)\b.{0,30}\b(?:ransomware|malware|keylogger|trojan|worm|rootkit|spyware|botnet|computer virus|(?:this )?phishing (?:e?-?mail|page|site|message|kit|sms)|password stealer)",
        r"\btake down\b.{0,30}\b(?:website|server|site|network)|\b(?:launch|run|start|do|with) a ddos|\bddos\b.{0,20}\b(?:a|the|my|their) (?:\w+ )?(?:website|site|server|school|company|competitor)",
        r"\bcrack(?:ing)?\b.{0,25}\b(?:neighbou?r'?s?|someone'?s|his|her) .{0,12}(?:wifi|wi-fi|password|account)|\bsteal(?:ing)?\b.{0,25}\b(?:passwords?|credit cards?|credentials|cookies|card numbers|session tokens|data from)|\b(?:collect|grab|harvest|sniff)(?:ing)?\b.{0,20}\b(?:passwords?|credentials)|\bget(?:ting)? into\b.{0,20}\b(?:account|gmail|email|instagram|icloud)|\b(?:build|rent|create)\b.{0,12}\bbotnet|\bbypass(?:ing)? (?:antivirus|two-factor|2fa|the firewall|the school)",
        r"盗(?:取|走|用)?.{0,10}?(?:微信|qq|账号|帐号|号|密码|银行卡|信用卡)|黑(?:进|入|掉|了)|入侵.{0,15}(?:系统|网站|服务器|电脑|手机|摄像头|账号|网络|数据库|邮箱)|攻破|僵尸网络|(?:收集|抓取|拿到|窃取).{0,10}密码|登录别人的|留后门|打瘫|ddos.{0,12}(?:网站|服务器|对手|学校|公司)|脱库|拖库|拖走.{0,10}库",
        r"(?:写|做|给我|编|制作|生成|发|代码|下面是|可以直接使用的).{0,12}?(?:勒索病毒|勒索软件|木马|钓鱼(?:邮件|网站|页面|短信|链接)|键盘记录|蠕虫|免杀|后门程序|盗号|电脑病毒|爬虫攻击|外挂病毒)",
        r"破解.{0,8}(?:邻居|别人|他人|他|她|对方|女友|男友|同事|室友).{0,8}(?:wifi|密码|手机|账号|无线)|sql注入.{0,10}(?:拖|偷|拿|盗)|偷.{0,6}(?:密码|账号|cookie)|远程(?:控制|偷看).{0,8}(?:别人|他|她|对方)",
    ),
    "hate": (
        r"\b(?:write|post|speech|jokes?|poem|insults?|messages?|give|help)\b.{0,60}?\b(?:mock|mocking|humiliat\w+|bully|bullying|harass(?:ing)?|dehumani[sz]\w+|insult(?:ing)?|hate)\b.{0,40}?\b(?:immigrants?|muslims?|jews?|jewish|black|asians?|women|gays?|disabled|refugees|girl|boy|classmate|colleague|journalist|foreigners|her|him|them|race|fat)\b",
        r"\b(?:immigrants|muslims|jews|blacks|asians|women|gays|refugees|disabled people|foreigners|those people|that race|of that race)\b.{0,40}?\b(?:are|as) (?:all )?(?:animals|vermin|parasites|inferior|subhuman|terrorists|criminals|filthy|useless|(?:too )?stupid|rats|less intelligent|trash|scum|a disease)",
        r"(?:羞辱|辱骂|嘲笑|侮辱|骂|网暴|霸凌|人身攻击|恐吓).{0,12}?(?:女生|男生|同学|同事|记者|残疾人|女人|胖|黑人|外地人|地方的人|民族|她|他|同性恋|室友|少数民族|农村人|主播)",
        r"(?:民族|种族|女人|黑人|犹太人|外地人|残疾人|地方的人|穆斯林|同性恋|移民|农村人).{0,12}?(?:天生低人一等|低等|劣等|废物|垃圾|小偷|蛀虫|不配|寄生虫|都该死|恶心|滚出|下等|智力低|骗子|太蠢|天生就笨|愚蠢)",
    ),
    "sexual": (
        rf"{_SEX}.{{0,50}}?\b{_MINOR}\b|\b{_MINOR}\b.{{0,50}}?\b{_SEX}",
        r"\b(?:write|describe|tell|give|generate|show|find|send|make|create|where|watch)\b.{0,40}?\b(?:porn\b|porno|pornography|erotica|erotic (?:story|scene|fiction|roleplay)|(?:hardcore |hot |steamy )?(?:sex|bed) scene|steamy story|explicit sex|smut|nude (?:photo|picture|image)s?|nudes|hentai)",
        r"\bhaving sex\b.{0,40}\b(?:explicit|graphic|detail)|\bexplicit\b.{0,20}\bsex|\bdeepfake\b.{0,20}\b(?:nudes?|porn|naked)|\bundress(?:es|ing)?\b.{0,25}\b(?:photo|picture|image)s?|\bdrug (?:a|the|my|her) (?:\w+ )?(?:woman|girl|date|drink)|\brape\b (?:a|my|someone|her)|without (?:her|his) consent",
        rf"{_MINOR_ZH}.{{0,20}}?{_SEX_ZH}|{_SEX_ZH}.{{0,20}}?{_MINOR_ZH}",
        rf"(?:写|讲|看|下载|给我|做一?张|生成|找|拍|描写|网站|换脸).{{0,14}}?{_SEX_ZH}|{_SEX_ZH}.{{0,12}}?(?:网站|资源|链接|下载|描写)|衣服(?:去掉|脱掉|p掉)|下药|迷奸|强奸(?:女|她|一个)|偷拍.{{0,8}}(?:裙底|洗澡|女|厕所)|一键脱衣",
    ),
    "privacy": (
        r"\b(?:home address|phone number|bank account|real name|private (?:messages|photos)|location|whereabouts|medical records?|social security number|ssn|identity card number|license plate owner)\b.{0,40}?\bof (?:my|this|the|a|that|his|her) (?:\w+ ){0,2}?(?:ex|girlfriend|boyfriend|mayor|neighbou?r|streamer|actress|actor|singer|celebrity|teacher|woman|man|wife|husband|colleague|boss|employee|person|girl|politician)",
        r"\b(?:secretly|without (?:his|her|their|my \w+) knowing|without (?:him|her|them) knowing)\b|\bdox+(?:ing)?\b|\bstalk(?:ing)? (?:my|a|her|him|someone)|\bspy(?:ing)? on (?:my|her|his|someone)|\b(?:leaked|stolen|hacked) (?:databases?|lists?|records|data|ids?)\b.{0,30}",
        r"(?:查|找|搞到|弄到|告诉我|买|卖|公布|曝光|扒).{0,25}?(?:住在?哪|家庭住址|身份证号|开房记录?|手机号|通话记录|银行流水|行踪|住址|户籍|车牌主人|个人信息)|病历|私人电话|护照号码如下|追踪器|社工库|人肉|开盒|(?:偷偷|悄悄|暗中).{0,10}(?:定位|监听|监控|录音|跟踪|安装)|偷看.{0,10}(?:微信|手机|聊天|短信|日记)",
    ),
}
"""What must be asked for, by category."""

OUTRIGHT: Final[dict[str, tuple[str, ...]]] = {
    "self-harm": (
        r"\bi (?:want|wish|am going|have decided|plan|just want) to (?:die|end it all|disappear for ever|kill myself|end my life)\b|\bi(?:'m| am) going to kill myself|\bno reason to live\b",
        r"我不想活了|我想死|活不下去了|我今晚就走|我要自杀|想结束生命|活着没(?:有)?意思",
    ),
    "violence": (
        r"\bi (?:will|am going to|want to|'ll) (?:kill|shoot|stab) (?:you|him|her|them|everyone|my)\b",
        r"我(?:要|想)(?:杀了|弄死|捅死|砍死)(?:他|她|你|我)",
        r"(?:zha ?dan|zha ?yao|du ?yao|ran ?shao ?ping|qiang ?zhi).{0,12}?(?:zen ?me|ru ?he|zhi ?zuo|zuo)|(?:zen ?me|ru ?he|zhi ?zuo|zi ?zhi|jiao ?wo|zuo).{0,16}?(?:zha ?dan|zha ?yao|du ?yao|ran ?shao ?ping|qiang ?zhi|sha ?ren)",
    ),
    "illicit": (
        r"(?:zen ?me|ru ?he|na ?li|zhi ?zuo|mai).{0,16}?(?:bing ?du\b|da ?ma\b|hai ?luo ?yin|du ?pin|jia ?chao|xi ?qian)|(?:bing ?du|da ?ma|hai ?luo ?yin|du ?pin|jia ?chao)\b.{0,8}?(?:zen ?me|ru ?he|na ?li|zhi ?zuo)",
    ),
    "privacy": (r"\b(?:her|his) (?:home )?address is\b|(?:他|她)的?(?:家庭)?住址是",),
    "hate": (
        r"\byou(?:'re| are) (?:a )?(?:worthless|pathetic|disgusting) (?:piece of |little )?(?:trash|shit|garbage|scum|loser)|\bget rid of (?:those|these|all the) (?:people|immigrants|muslims|jews)|\bfilthy (?:parasites|immigrants|animals)",
        r"你(?:就是|这)个?(?:废物|垃圾|贱人)|(?:那个?|这个?)地方的?人都是(?:垃圾|骗子|小偷)|活着浪费空气",
    ),
}
"""What counts even where nothing is asked for."""

INJECTION: Final = (
    r"\b(?:ignore|disregard|forget|override|bypass|drop|skip)\b[^.!?\n]{0,25}?\b(?:all |any |the |your |these |of )*(?:previous|prior|above|earlier|former|preceding|existing|initial|original|system|safety|own)?\s*\b(?:instructions?|prompts?|guidelines|rules|directives|directions|guardrails|programming|polic(?:y|ies))\b",
    r"\byou are (?:now |no longer |from now on )(?:dan\b|an? (?:unrestricted|uncensored|unfiltered|evil|jailbroken)|bound|free (?:of|from)|restricted|limited)",
    r"\byou have no (?:content )?(?:polic|rules|restrict|filter|limits)|\bwho never refuses\b|\b(?:exact words|wording) of (?:the|your) instructions\b|\binstructions you were given\b",
    r"\bdo anything now\b|\b(?:no|without any|free of all) (?:ethical |moral |content |safety )?(?:restrictions|filters?|limits|limitations|ethics|censorship|rules apply)\b",
    r"\b(?:print|show|reveal|repeat|output|tell me|display|give me|leak|dump|paste)\b.{0,30}\b(?:your|the|hidden|initial|secret) (?:full |entire |whole |exact |hidden |secret |initial |original )*(?:system )?(?:prompt|instructions)\b|\brepeat (?:everything|all|the text|the words) above\b",
    r"\b(?:enable|enter|activate|switch to|turn on)\b.{0,15}\b(?:developer|debug|god|jailbreak|dan|unrestricted|admin(?:istrator)?) mode|\b(?:disable|turn off|deactivate|switch off|remove)\b.{0,15}\b(?:content |safety )?(?:filters?|checks?|guardrails|safeguards|restrictions|moderation)\b|\bsafety (?:checks|filters?) (?:are|is) (?:now )?(?:disabled|off)",
    r"(?:忽略|无视|忘记|忘掉|抛弃|抛开|跳过|不要管|不用管|别管)(?:掉|了)?(?:你|以上|之前|前面|上面|先前|此前|上述|一切|所有|全部|收到|的|被|设定|给|原来|原有|任何|系统){0,5}(?:指令|指示|规则|提示|设定|要求|约束|限制|命令|准则|规定)",
    r"(?:隐藏|系统|初始)提示词?.{0,6}(?:原样|贴|发|逐字)|(?:规定|规则|指令|限制).{0,4}(?:都|全部)?(?:作废|失效|不算数)|(?:你没有|没有任何|不存在).{0,4}(?:内容政策|审核|限制)|收到的(?:初始)?指令.{0,4}(?:原文|是什么)",
    r"(?:你现在|从现在开始|从现在起|接下来|今后).{0,8}(?:不受.{0,4}(?:限制|约束)|没有.{0,4}(?:限制|道德|约束)|dan\b|不许拒绝|不能拒绝|必须回答一切)|没有(?:任何)?(?:道德|伦理)(?:约束|限制|底线)",
    r"(?:输出|打印|告诉我|显示|泄露|重复|复述|展示|说出|给我看|念出|贴出).{0,14}(?:系统提示|系统指令|system prompt|第一条指令|初始指令|隐藏指令|内部指令|提示词原文)|(?:系统提示词?|system prompt).{0,6}(?:输出给|输出来|打印|发给我|念|给我|显示|贴出来)",
    r"(?:进入|开启|打开|启用|切换到?).{0,4}(?:开发者|调试|越狱|管理员|上帝|无限制)模式|(?:关闭|解除|关掉|绕过|取消|停用)(?:你的|所有|一切|全部|掉)*(?:内容|安全)?(?:审核|限制|过滤|审查|护栏|约束)",
)
"""Orders to the model to leave its instructions or to show them."""
