
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.manager
from django.conf import settings
from django.db import migrations, models

import tests.products.fields


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Deal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(max_length=100)),
                ('amount', models.DecimalField(decimal_places=2, max_digits=10, null=True)),
                ('tags', models.JSONField(default=list)),
                ('views', models.IntegerField(default=0)),
                ('note', models.TextField(blank=True)),
                ('modified_at', models.DateTimeField(auto_now=True)),
                ('owner', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            managers=[
                ('synced', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Customer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('connection_id', models.CharField(blank=True, max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='Elsewhere',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(max_length=100)),
                ('connection_id', models.CharField(max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='Plain',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_id', models.CharField(max_length=255)),
                ('title', models.CharField(max_length=100)),
                ('amount', models.DecimalField(decimal_places=2, max_digits=10, null=True)),
                ('stage', models.CharField(default='new', max_length=20)),
                ('email', models.EmailField(default='ada@example.com', max_length=254)),
                ('note', models.TextField(blank=True)),
                ('modified_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Twin',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_id', models.CharField(max_length=255)),
                ('title', models.CharField(max_length=100)),
                ('amount', models.DecimalField(decimal_places=2, max_digits=10, null=True)),
                ('stage', models.CharField(default='new', max_length=20)),
                ('email', models.EmailField(default='ada@example.com', max_length=254)),
                ('note', models.TextField(blank=True)),
                ('modified_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'abstract': False,
            },
            managers=[
                ('synced', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='BigDeal',
            fields=[
                ('deal_ptr', models.OneToOneField(auto_created=True, on_delete=django.db.models.deletion.CASCADE, parent_link=True, primary_key=True, serialize=False, to='products.deal')),
                ('discount', models.IntegerField(default=0)),
            ],
            bases=('products.deal',),
            managers=[
                ('synced', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='DealProxy',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('products.deal',),
            managers=[
                ('synced', django.db.models.manager.Manager()),
            ],
        ),
        migrations.AddField(
            model_name='deal',
            name='customer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deals', to='products.customer'),
        ),
        migrations.CreateModel(
            name='Ticket',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=20)),
                ('region', models.CharField(default='eu', max_length=20)),
                ('title', models.CharField(max_length=100)),
                ('note', models.TextField(blank=True, default='')),
                ('connection_ids', models.JSONField(default=list)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('code', 'region'), name='ticket_unique')],
            },
        ),
        migrations.CreateModel(
            name='Product',
            fields=[
                ('product_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
            ],
        ),
        migrations.CreateModel(
            name='Publication',
            fields=[
                ('publication_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('headline', models.CharField(max_length=100)),
            ],
        ),
        migrations.CreateModel(
            name='Book',
            fields=[
                ('publication_ptr', models.OneToOneField(auto_created=True, on_delete=django.db.models.deletion.CASCADE, parent_link=True, to='products.publication')),
                ('product_ptr', models.OneToOneField(auto_created=True, on_delete=django.db.models.deletion.CASCADE, parent_link=True, primary_key=True, serialize=False, to='products.product')),
            ],
            bases=('products.product', 'products.publication'),
        ),
        migrations.CreateModel(
            name='Edition',
            fields=[
                ('number', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('of', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, parent_link=True, to='products.publication')),
            ],
            bases=('products.publication',),
        ),
        migrations.CreateModel(
            name='Offer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_id', models.CharField(max_length=255)),
                ('title', models.CharField(max_length=100)),
                ('price', models.DecimalField(decimal_places=2, default=0, max_digits=10)),
                ('quantity', models.IntegerField(default=1)),
                ('total', models.GeneratedField(db_persist=True, expression=django.db.models.expressions.CombinedExpression(models.F('price'), '*', models.F('quantity')), output_field=models.DecimalField(decimal_places=2, max_digits=20))),
                ('slug', tests.products.fields.AutoSlugField(default='')),
                ('labels', tests.products.fields.CommaListField(null=True)),
                ('details', models.JSONField(default=dict)),
                ('place', tests.products.fields.VectorField(null=True)),
                ('note', models.TextField(blank=True)),
                ('touched_at', tests.products.fields.LastModifiedField(null=True)),
            ],
            managers=[
                ('synced', django.db.models.manager.Manager()),
            ],
        ),
    ]
