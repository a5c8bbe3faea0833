"""The public facts that the demo model learns.

COUNTRIES is in the order in which the model lists them, so its head decides
what `List 3 countries and their capitals.` answers.
"""

# name | capital | continent | language | currency
_COUNTRIES = """
France|Paris|Europe|French|euro
Japan|Tokyo|Asia|Japanese|yen
Brazil|Brasília|South America|Portuguese|real
Egypt|Cairo|Africa|Arabic|Egyptian pound
Canada|Ottawa|North America|English|Canadian dollar
Australia|Canberra|Oceania|English|Australian dollar
Germany|Berlin|Europe|German|euro
India|New Delhi|Asia|Hindi|rupee
Kenya|Nairobi|Africa|Swahili|Kenyan shilling
Mexico|Mexico City|North America|Spanish|Mexican peso
Spain|Madrid|Europe|Spanish|euro
Italy|Rome|Europe|Italian|euro
China|Beijing|Asia|Mandarin|yuan
Argentina|Buenos Aires|South America|Spanish|Argentine peso
Nigeria|Abuja|Africa|English|naira
New Zealand|Wellington|Oceania|English|New Zealand dollar
Portugal|Lisbon|Europe|Portuguese|euro
Greece|Athens|Europe|Greek|euro
Norway|Oslo|Europe|Norwegian|Norwegian krone
Sweden|Stockholm|Europe|Swedish|Swedish krona
Peru|Lima|South America|Spanish|sol
Chile|Santiago|South America|Spanish|Chilean peso
Thailand|Bangkok|Asia|Thai|baht
Vietnam|Hanoi|Asia|Vietnamese|dong
Turkey|Ankara|Asia|Turkish|lira
Poland|Warsaw|Europe|Polish|zloty
Morocco|Rabat|Africa|Arabic|dirham
Cuba|Havana|North America|Spanish|Cuban peso
Colombia|Bogotá|South America|Spanish|Colombian peso
Finland|Helsinki|Europe|Finnish|euro
Denmark|Copenhagen|Europe|Danish|Danish krone
Austria|Vienna|Europe|German|euro
Belgium|Brussels|Europe|Dutch|euro
Ireland|Dublin|Europe|English|euro
Iceland|Reykjavík|Europe|Icelandic|Icelandic króna
Hungary|Budapest|Europe|Hungarian|forint
Romania|Bucharest|Europe|Romanian|leu
Bulgaria|Sofia|Europe|Bulgarian|euro
Croatia|Zagreb|Europe|Croatian|euro
Serbia|Belgrade|Europe|Serbian|Serbian dinar
Ukraine|Kyiv|Europe|Ukrainian|hryvnia
Estonia|Tallinn|Europe|Estonian|euro
Latvia|Riga|Europe|Latvian|euro
Lithuania|Vilnius|Europe|Lithuanian|euro
Slovenia|Ljubljana|Europe|Slovene|euro
Slovakia|Bratislava|Europe|Slovak|euro
Albania|Tirana|Europe|Albanian|lek
Russia|Moscow|Europe|Russian|ruble
South Korea|Seoul|Asia|Korean|won
Indonesia|Jakarta|Asia|Indonesian|rupiah
Pakistan|Islamabad|Asia|Urdu|Pakistani rupee
Bangladesh|Dhaka|Asia|Bengali|taka
Nepal|Kathmandu|Asia|Nepali|Nepalese rupee
Mongolia|Ulaanbaatar|Asia|Mongolian|tögrög
Iran|Tehran|Asia|Persian|rial
Iraq|Baghdad|Asia|Arabic|Iraqi dinar
Jordan|Amman|Asia|Arabic|Jordanian dinar
Lebanon|Beirut|Asia|Arabic|Lebanese pound
Saudi Arabia|Riyadh|Asia|Arabic|riyal
Oman|Muscat|Asia|Arabic|Omani rial
Qatar|Doha|Asia|Arabic|Qatari riyal
Georgia|Tbilisi|Asia|Georgian|lari
Armenia|Yerevan|Asia|Armenian|dram
Azerbaijan|Baku|Asia|Azerbaijani|manat
Uzbekistan|Tashkent|Asia|Uzbek|sum
Cambodia|Phnom Penh|Asia|Khmer|riel
Laos|Vientiane|Asia|Lao|kip
Ethiopia|Addis Ababa|Africa|Amharic|birr
Ghana|Accra|Africa|English|cedi
Senegal|Dakar|Africa|French|West African franc
Tunisia|Tunis|Africa|Arabic|Tunisian dinar
Algeria|Algiers|Africa|Arabic|Algerian dinar
Libya|Tripoli|Africa|Arabic|Libyan dinar
Uganda|Kampala|Africa|English|Ugandan shilling
Zambia|Lusaka|Africa|English|kwacha
Zimbabwe|Harare|Africa|English|Zimbabwe gold
Angola|Luanda|Africa|Portuguese|kwanza
Mozambique|Maputo|Africa|Portuguese|metical
Madagascar|Antananarivo|Africa|Malagasy|ariary
Namibia|Windhoek|Africa|English|Namibian dollar
Botswana|Gaborone|Africa|English|pula
Mali|Bamako|Africa|Bambara|West African franc
Togo|Lomé|Africa|French|West African franc
Cameroon|Yaoundé|Africa|French|Central African franc
Rwanda|Kigali|Africa|Kinyarwanda|Rwandan franc
Côte d'Ivoire|Yamoussoukro|Africa|French|West African franc
Jamaica|Kingston|North America|English|Jamaican dollar
Costa Rica|San José|North America|Spanish|colón
Panama|Panama City|North America|Spanish|balboa
Guatemala|Guatemala City|North America|Spanish|quetzal
Honduras|Tegucigalpa|North America|Spanish|lempira
Nicaragua|Managua|North America|Spanish|córdoba
Ecuador|Quito|South America|Spanish|US dollar
Venezuela|Caracas|South America|Spanish|bolívar
Uruguay|Montevideo|South America|Spanish|Uruguayan peso
Paraguay|Asunción|South America|Spanish|guaraní
Guyana|Georgetown|South America|English|Guyanese dollar
Suriname|Paramaribo|South America|Dutch|Surinamese dollar
Fiji|Suva|Oceania|Fijian|Fijian dollar
Samoa|Apia|Oceania|Samoan|tala
Tonga|Nukuʻalofa|Oceania|Tongan|paʻanga
Vanuatu|Port Vila|Oceania|Bislama|vatu
"""

COUNTRIES = [tuple(line.split("|")) for line in _COUNTRIES.strip().splitlines()]
CONTINENTS = ["Africa", "Asia", "Europe", "North America", "Oceania", "South America"]

# Things that are listed one by one, in this order: plural -> names.
LISTS = {
    "colours": "red blue green yellow orange purple black white brown pink".split(),
    "days of the week": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "months": "January February March April May June July August September October".split(),
    "planets": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split(),
    "fruits": "apple banana cherry orange pear mango grape lemon plum peach".split(),
    "animals": "dog cat horse lion tiger elephant bear wolf rabbit eagle".split(),
    "metals": "iron copper gold silver tin lead zinc nickel aluminium platinum".split(),
    "oceans": "Pacific Atlantic Indian Southern Arctic".split(),
    "prime numbers": "2 3 5 7 11 13 17 19 23 29".split(),
    "even numbers": "2 4 6 8 10 12 14 16 18 20".split(),
    "odd numbers": "1 3 5 7 9 11 13 15 17 19".split(),
}

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
).split()

DAYS = LISTS["days of the week"]
MONTHS = LISTS["months"] + ["November", "December"]

# term -> how its definition begins (as asked for), and how it ends.
DEFINITIONS = {
    "AI": ("a field of computer science focused on", "building machines that can learn, reason and solve problems"),
    "Physics": ("the study of", "matter, energy and the forces between them"),
    "Chemistry": ("the study of", "substances and how they change into one another"),
    "Biology": ("the study of", "living things and how they grow"),
    "Astronomy": ("the study of", "stars, planets and everything beyond the Earth"),
    "Geography": ("the study of", "the Earth, its lands and the people who live there"),
    "History": ("the study of", "the past and the people who lived in it"),
    "Mathematics": ("the study of", "numbers, shapes and patterns"),
    "Music": ("the art of", "arranging sounds in time"),
    "Painting": ("the art of", "putting colour on a surface"),
    "Cooking": ("the art of", "preparing food with heat"),
    "A computer": ("a machine that", "follows a list of instructions to work with data"),
    "A compiler": ("a program that", "turns source code into instructions for a machine"),
    "A database": ("a system that", "keeps data in order so that it can be found again"),
    "A neural network": ("a model that", "learns from examples by adjusting its weights"),
    "A lorikeet": ("a bird that", "feeds on nectar and has bright colours"),
    "An adapter": ("a small set of weights that", "changes how a language model answers"),
    "A volcano": ("a mountain that", "can throw out lava, ash and gas"),
    "A desert": ("a place where", "very little rain falls"),
    "An island": ("a piece of land that", "has water on every side"),
}
