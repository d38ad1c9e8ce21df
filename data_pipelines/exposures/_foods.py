"""Foods by group: typical macros of 100 g as eaten, and the words, English and Chinese, by which they are written.

Values are our own, rounded to what foods of a group have in common; they are checked against no single entry. General
sources to look such numbers up in: USDA FoodData Central, and the China Food Composition Tables (Yang et al., Peking
University Medical Press). Single foods of a group differ by a third and more, so a meal's grams are an estimate.
"""

from dataclasses import dataclass
from functools import cache

# group: carbohydrates, protein, fat, alcohol in g of 100 g (or 100 ml): words. A line that begins with a space goes on.
# (whole) is a dish of its own: what else is named with it (pork dumpling) is already in it.
TABLE = """
rice: 26 2.7 0.4 0: rice, black rice, steamed rice, staple food, 主食, sushi, 米饭, 蒸米饭, 饭, 饭团, 寿司, 软饭,
    二米饭, 黑米饭, 紫米饭
mixed grains: 25 3 1 0: grain, coarse grain, quinoa, 杂粮饭, 杂粮, 糙米, 荞麦, sorghum, 糙米饭, 藜麦
fried rice (whole): 27 6 6 0: fried rice, vegetable and rice, risotto, 炒饭, 菜饭, 盖浇饭, 咸肉菜饭
porridge (whole): 10 1.4 0.4 0: porridge, congee, rice in soup, rice in salted soup, gruel, millet porridge, 粥, 泡饭,
    稀饭, 咸泡饭, 米汤
noodles: 25 4.5 1 0: noodle, noodles, pasta, spaghetti, noodle soup, rice noodle, 面, 面条, 拌面, 汤面, 菜汤面,
    荞麦面, 米粉, 米线, 挂面, 意面, 年糕汤
fried noodles (whole): 40 5.5 9 0: instant noodle, instant noodles, fried noodles, fried noodle, 方便面, 炒面, 炒米粉,
    葱油拌面
starch noodles: 20 0.3 0.1 0: vermicelli, glass noodle, starch jelly, 粉丝, 粉条, 凉粉, 凉皮
bread: 50 8.5 3.5 0: bread, toast, rye bread, whole wheat bread, 面包, 吐司, 全麦面包, 荞麦面包
steamed bread: 45 7 1.2 0: steamed bread, steamed bun, bun, steamed twisted roll, corn bread, corn bun,
    steamed corn bread, steamed corn bun, coarse grain steamed bread, coarse grain bread, 馒头, 花卷, 窝窝头, 窝头,
    玉米馒头, 杂粮馒头, 荞麦馒头, 南瓜馒头, 刀切, 发糕
filled buns (whole): 32 7 6 0: pork bun, meat bun, beef bun, stuffed bun, vegetable bun, steamed vegetable bun,
    steamed pork bun, bean paste bun, 包, 包子, 菜包, 肉包, 豆沙包, 汤包, 小笼, 小笼包, 生煎, 生煎包, 烧麦, 烧卖,
    粢饭, 粢饭团
dumplings (whole): 25 7.5 7 0: dumpling, dumplings, wonton, pan-fried dumpling, spring roll, 饺子, 水饺, 饺, 馄饨,
    锅贴, 春卷, 蒸饺, 煎饺
pancakes (whole): 47 6.5 14 0: pancake, pie, oil pastry, deep-fried dough stick, dough stick, flour cake, pizza,
    burger, hamburger, sandwich, 油条, 大饼, 饼, 煎饼, 葱油饼, 手抓饼, 南瓜饼, 派, 披萨, 汉堡, 三明治, 烧饼
cakes (whole): 58 7 20 0: biscuit, cookie, cracker, cake, puff pastry, mooncake, egg tart, dessert, pastry, dim sum,
    饼干, 蛋糕, 月饼, 蛋挞, 点心, 蝴蝶酥, 酥饼, 曲奇, 蛋黄派, 绿豆糕, 桃酥, 苏打饼干
sticky rice (whole): 42 4 2 0: rice cake, sticky rice cake, rice ball, glutinous rice, sticky rice ball,
    rice dumpling, stuffed sticky rice ball, 年糕, 汤圆, 糯米, 粽子, 粽, 酒酿圆子, 青团, 麻薯, 八宝饭, 糍粑, 松糕,
    米糕
dry cereal: 66 11 6 0: cereal, oats, oat, oatmeal, coix seed, wheat germ, 麦片, 燕麦, 燕麦片, 薏米, 薏仁, 麦麸
meal replacement: 55 18 8 0: meal replacement powder, nutrition powder, 代餐粉, 代餐, 营养粉, 益力佳, 全安素
protein powder: 8 78 4 0: protein powder, 蛋白粉
corn: 20 3.3 1.3 0: corn, maize, 玉米, 玉米棒, 珍珠米
sweet potato: 20 1.5 0.2 0: sweet potato, potato sweet, 山芋, 红薯, 地瓜, 番薯, 紫薯
potato: 17 2 0.2 0: potato, taro, yam, chinese yam, water chestnut, 土豆, 芋艿, 芋头, 芋, 毛芋艿, 山药, 马铃薯,
    洋山芋, 荸荠
lotus root: 12 2 0.2 0: lotus root, arrowhead, pumpkin, chestnut, burdock, 藕, 藕片, 莲藕, 南瓜, 板栗, 栗子, 牛蒡,
    慈菇, 百合, lily bulb
vegetables: 4 1.6 0.3 0: vegetable, vegetables, cucumber, cabbage, chinese cabbage, hangzhou cabbage, lettuce,
    leaf lettuce, cauliflower, broccoli, spinach, tomato, radish, wax gourd, white gourd, winter melon, crown daisy,
    celery, eggplant, bitter gourd, amaranth, water spinach, bean sprout, bean sprouts, green bean sprout,
    mung bean sprouts, mung bean sprout, sweet potato leaves, sweet potato leaf, sword bean, water bamboo, cowpea,
    asparagus, green bean, green pepper, pepper, bamboo shoot, onion, green onion, scallion, garlic, towel gourd,
    zucchini, bottle gourd, carrot, shepherd's purse, shepherd's-purse, leek, leek sprouts, medicago polymorpha,
    snow pea, snow peas, pea sprouts, rape, kale, mustard, okra, chives, salad, turnip, ginger, string bean,
    string beans, coriander, luffa, malabar spinach, garland chrysanthemum, gourd, purslane, garlic sprout, 青菜,
    蔬菜, 素菜, 绿叶菜, 黄瓜, 卷心菜, 白菜, 大白菜, 杭白菜, 小白菜, 生菜, 莴笋, 莴苣, 花菜, 西兰花, 西蓝花, 菠菜,
    番茄, 西红柿, 大番茄, 萝卜, 胡萝卜, 胡卜, 冬瓜, 茼蒿, 蓬蒿, 芹菜, 西芹, 茄子, 苦瓜, 米苋, 苋菜, 空心菜, 豆芽,
    黄豆芽, 绿豆芽, 银芽, 山芋叶, 刀豆, 茭白, 豇豆, 长豇豆, 芦笋, 四季豆, 青椒, 彩椒, 甜椒, 尖椒, 竹笋, 笋, 冬笋,
    洋葱, 葱, 大蒜, 蒜苗, 蒜薹, 丝瓜, 西葫芦, 夜开花, 荠菜, 韭菜, 韭芽, 草头, 荷兰豆, 豆苗, 菜心, 鸡毛菜, 塌菜,
    油麦菜, 娃娃菜, 包菜, 甘蓝, 秋葵, 芥兰, 芥菜, 水煮菜, 菜, 菜苋, 豆角, 扁豆, 色拉, 沙拉, 姜, 生姜, 香菜, 雪菜,
    马兰头, 木耳菜, 瓠瓜, 落苏, 米苋菜
mushrooms: 5 2.5 0.3 0: mushroom, mushrooms, fungus, black fungus, white fungus, king oyster mushroom,
    needle mushroom, kelp, laver, seaweed, konjac, 香菇, 蘑菇, 木耳, 黑木耳, 银耳, 白木耳, 杏鲍菇, 金针菇, 平菇, 菌菇,
    菇, 海带, 紫菜, 海藻, 魔芋, 松茸, 茶树菇, 竹荪
pickles: 7 2 0.3 0: pickle, pickles, pickled mustard, dried radish, pickled vegetable, 榨菜, 酱菜, 泡菜, 咸菜, 萝卜干,
    酱瓜, 乳黄瓜, 大头菜, 梅干菜
red beans: 24 8 0.6 0: red bean, mung bean, lentil, kidney bean, black bean, bean paste, 红豆, 绿豆, 赤豆, 芸豆, 黑豆,
    红腰豆, 豆沙, 豆类
green beans: 13 10 3.5 0: bean, green soybean, soybean, soya bean, broad bean, sweet broad bean, pea, peas, 毛豆,
    黄豆, 蚕豆, 豌豆, 青豆, 豆, 豆瓣, 小寒豆, 芽豆
tofu: 4 9 5 0: tofu, bean curd, tofu pudding, fermented bean curd, egg tofu, mapo tofu, 豆腐, 豆花, 豆腐花, 豆腐脑,
    腐乳, 麻婆豆腐, 内脂豆腐, 内酯豆腐, 日本豆腐, 厚百叶
dried tofu: 7 19 12 0: tofu skin, dried bean curd, dried tofu, bean curd blade, bean curd roll,
    steamed bean curd roll, tofu skin roll, tofu skin rolls, tofu skin knot, bean curd skin, vegetarian chicken,
    bean curd stick, 豆腐干, 豆干, 香干, 百叶, 千张, 腐竹, 豆腐皮, 腐皮, 百叶结, 素鸡, 豆制品, 百叶包, 素鸭, 油豆腐,
    干丝, 豆腐衣, 面筋塞肉
gluten: 11 20 2 0: gluten, steamed gluten, oily gluten, 烤麸, 面筋, 油面筋, 水面筋
soy milk: 2.5 3 1.6 0: soybean milk, soymilk, soy milk, 豆浆, 豆奶
egg: 1.5 13 10 0: egg, eggs, boiled egg, duck egg, salted egg, preserved egg, egg yolk, marinated egg, quail egg,
    鸡蛋, 蛋, 鸭蛋, 皮蛋, 咸蛋, 鹌鹑蛋, 蛋黄, 茶叶蛋, 荷包蛋, 白煮蛋, 蒸蛋, 水蒸蛋, 炖蛋
egg white: 1 11 0.2 0: egg white, 蛋白, 蛋清
pork: 2 18 16 0: pork, meat, meat dish, pork chop, pork rib, pork ribs, spare rib, pork jerky, roast meat, pig feet,
    pig ear, pig liver, pork liver, minced meat, pork floss, 猪肉, 肉, 肉丝, 肉片, 肉糜, 肉沫, 肉末, 排骨, 大排, 小排,
    猪爪, 猪蹄, 猪肝, 肉松, 荤菜, 瘦肉, 咸肉, 肉饼, 白切肉, 蹄膀, 酱爆, 猪肚, 大肠, 腰花, 猪
fat pork: 6 13 30 0: braised pork in brown sauce, pork belly, 红烧肉, 五花肉, 东坡肉, 扣肉
meatballs: 7 13 18 0: meatball, pork meatball, big pork meatball, fish meatball, meat ball, meat balls, fish ball,
    肉圆, 肉圆子, 肉丸, 狮子头, 鱼丸, 丸子, 贡丸
sausage: 6 14 24 0: sausage, ham, ham sausage, bacon, luncheon meat, salami, 香肠, 红肠, 火腿, 火腿肠, 培根, 午餐肉,
    腊肉, 烤肠, 方腿, 腊肠, 热狗
beef: 1.5 24 8 0: beef, steak, mutton, lamb, donkey meat, rabbit, bullfrog, ox tail, cow tail, tripe, beef jerky,
    牛肉, 牛肉饼, 牛排, 羊肉, 牛腩, 牛百叶, 牛腱, 牛蛙, 羊排, 牛筋, 驴肉, 兔肉, 牛尾, 田鸡
chicken: 1 21 9 0: chicken, chicken leg, chicken wing, chicken feet, chicken breast, chicken nugget, turkey,
    kung pao chicken, 鸡肉, 鸡, 鸡腿, 鸡翅, 鸡爪, 鸡块, 鸡胸, 鸡胸肉, 鸡丁, 鸡片, 鸡丝, 鸡柳, 白斩鸡, 白切鸡, 鸡中翅,
    凤爪, 鸡胗, 鸡肫
duck: 1 19 15 0: duck, duck meat, duck leg, duck feet, goose, pigeon, duck slices, 鸭肉, 鸭, 鸭腿, 鸭片, 鸭丁, 鸭块,
    烤鸭, 盐水鸭, 鹅, 鹅肉, 鸽子, 鸽, 老鸭, 鸭掌, 鸭胗, 鸭肫
fish: 1.5 19 5 0: fish, hairtail, yellow croaker, pomfret, mandarin fish, smoked fish, eel, snakehead, perch, salmon,
    cod, carp, crucian carp, fish slices, loach, grass carp, turbot, basa, tuna, catfish, bass, herring, fish head,
    fish intestines, 鱼, 带鱼, 黄鱼, 小黄鱼, 鲳鱼, 鳜鱼, 桂鱼, 熏鱼, 鳗鱼, 黄鳝, 鳝丝, 鳝, 黑鱼, 鲈鱼, 三文鱼, 鳕鱼,
    鲫鱼, 鱼片, 鱼块, 鱼头, 泥鳅, 草鱼, 青鱼, 多宝鱼, 巴沙鱼, 龙利鱼, 昂刺, 鲢鱼, 鲑鱼
seafood: 2 17 1.2 0: shrimp, prawn, crab, crayfish, crawfish, clam, abalone, sea cucumber, squid, scallop, oyster,
    razor clam, snail, jellyfish, cuttlefish, 虾, 虾仁, 基围虾, 河虾, 蟹, 螃蟹, 小龙虾, 龙虾, 蛤蜊, 蛤, 花蛤, 鲍鱼,
    海参, 鱿鱼, 扇贝, 贝, 生蚝, 蛏子, 螺, 螺蛳, 海蜇, 乌贼, 墨鱼, 海鲜, 甲鱼, 花甲, 目鱼
milk: 5 3.2 3.3 0: milk, 奶, 牛奶, 鲜奶, 脱脂奶, 纯牛奶, 羊奶, 舒化奶, 低脂奶
milk with cereal (whole): 13 4 3.5 0: milk cereal, cereal milk, 牛奶麦片, 麦片牛奶, 燕麦牛奶, 牛奶燕麦
yogurt: 11 3 3 0: yogurt, yoghurt, fermented milk, 酸奶, 酸牛奶, 发酵乳, 养乐多
cheese: 4 24 27 0: cheese, 奶酪, 芝士
milk powder: 52 26 20 0: milk powder, 奶粉
fruit: 11 0.7 0.3 0: apple, orange, pear, peach, plum, kiwi, kiwi fruit, fruit, grapefruit, loquat, mango, pineapple,
    cherry, pomelo, blueberry, dragon fruit, pitaya, mandarin, nectarine, lychee, litchi, apricot, waxberry, bayberry,
    tangerine, mandarin orange, fruit and vegetable pulp, 苹果, 橙, 橙子, 橘子, 桔子, 桔, 金桔, kumquat, 梨, 生梨,
    香梨, 桃, 桃子, 水蜜桃, 黄桃, 李子, 猕猴桃, 奇异果, 水果, 柚子, 西柚, 枇杷, 芒果, 菠萝, 樱桃, 车厘子, 蓝莓,
    火龙果, 荔枝, 杏子, 杨梅, 蟠桃, 油桃, 果蔬, 果蔬浆, 柑, 柑橘, 芦柑, 石榴
melons: 7 0.8 0.2 0: watermelon, melon, strawberry, cantaloupe, papaya, hami melon, cherry tomato, 西瓜, 甜瓜, 香瓜,
    草莓, 哈密瓜, 木瓜, 小番茄, 圣女果, 小西红柿, 白兰瓜, 伊丽莎白瓜
sweet fruit: 19 1 0.3 0: banana, grape, persimmon, durian, fresh date, jujube, jackfruit, sugarcane, 香蕉, 葡萄, 提子,
    柿子, 榴莲, 冬枣, 鲜枣, 桂圆, 甘蔗
dried fruit: 67 4 0.8 0: red date, date, raisin, dried fruit, dried longan, prune, 红枣, 枣, 枣子, 葡萄干, 果干, 蜜枣,
    桂圆干, 无花果
dried seeds: 62 14 2 0: wolfberry, chinese wolfberry, lotus nut, lotus seed, poria cocos, 枸杞, 莲子, 茯苓, 芡实
nuts: 16 19 52 0: nut, nuts, walnut, walnuts, almond, cashew, cashew nut, cashew nuts, pistachio, hazelnut, 坚果,
    核桃, 核桃仁, 杏仁, 腰果, 开心果, 榛子, 松子, 碧根果, 巴旦木
peanuts: 18 24 46 0: peanut, peanuts, melon seed, melon seeds, sunflower seed, sesame, chia seed, pumpkin seed, 花生,
    花生米, 瓜子, 葵花籽, 芝麻, 奇亚籽, 香瓜子, 南瓜子, 西瓜子
chocolate: 55 7 32 0: chocolate, 巧克力
sugar: 97 0 0 0: sugar, glucose, candy, fruit candy, 糖, 葡萄糖, 白糖, 红糖, 糖果, 硬糖
honey: 75 0.4 0.1 0: honey, jam, 蜂蜜, 果酱, 蜜
ice cream: 23 3.5 11 0: ice cream, 冰淇淋, 冰激凌, 雪糕
cream: 6 6 28 0: crisps, cream, 奶油
crisps (whole): 52 6 34 0: potato chips, chips, 薯片
fries (whole): 38 3.5 15 0: french fries, fries, 薯条
sweet drinks: 10 0.4 0.1 0: juice, cola, coke, soda, soft drink, sprite, 果汁, 橙汁, 可乐, 雪碧, 饮料, 苹果汁, 奶茶,
    milk tea
water and coffee: 0.5 0.1 0 0: coffee, tea, water, black coffee, ginger juice, soda water, 咖啡, 黑咖啡, 茶, 绿茶, 水,
    苏打水, 姜汁
milk coffee: 4 1.8 2 0: latte, latte coffee, coffee and milk, coffee with milk, coffee milk, cappuccino, 拿铁,
    咖啡牛奶, 牛奶咖啡, 无糖咖啡牛奶, 卡布奇诺
beer (whole): 3.5 0.4 0 4: beer, 啤酒
wine (whole): 2.5 0.1 0 10: wine, red wine, white wine, 红酒, 葡萄酒, 干红, 白葡萄酒
rice wine (whole): 4 1.5 0 12: yellow rice wine, rice wine, ginseng wine, 黄酒, 米酒, 人参酒, 老酒
spirits (whole): 0 0 0 40: liquor, white spirit, spirit, baijiu, 白酒
"""
# Of 100 g of a soup this share is what it is named after, the rest water; one named after nothing has SOUP.
SOUP_WORDS, SOUP_SHARE = ("soup", "broth", "汤", "羹"), 0.3
# Ways of cooking that bring oil, and g of fat that they bring to 100 g of the dish.
OIL_WORDS = (
    *("fried", "stir fried", "pan fried", "scrambled", "braised", "shredded", "sliced", "minced", "diced"),
    *("scallion oil", "炒", "煎", "炸", "烧", "爆", "油焖", "葱油", "丝", "片", "丁"),
)
OIL_G = 4.0
# Said of a food, and no food.
NO_FOOD = ("sugar free", "sugarless", "无糖")


@dataclass(frozen=True)
class Food:
    """A group of foods: g of 100 g as eaten.

    Attributes:
        whole: True is a dish of its own: nothing else that is named with it counts.
    """

    carbs: float
    protein: float
    fat: float
    alcohol: float = 0.0
    whole: bool = False


SOUP = Food(2, 1.5, 1)


@cache
def foods() -> dict[str, Food]:
    """Word -> its group, of the table above."""
    found: dict[str, Food] = {}
    for line in TABLE.replace("\n    ", " ").strip().splitlines():
        group, numbers, words = line.split(": ")
        carbs, protein, fat, alcohol = (float(number) for number in numbers.split())
        food = Food(carbs, protein, fat, alcohol, "(whole)" in group)
        found |= {word.replace("-", " "): food for word in words.split(", ")}
    return found
